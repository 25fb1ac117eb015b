"""Regions of verification.

The regions are those of the World Meteorological Organization's standard scores, northern
extratropics (90N-20N), tropics (20N-20S) and southern extratropics (20S-90S), and land and sea. A
grid point or an observation belongs to a region by its position (a footprint by its centre); 20
degrees itself is tropical. Land and sea divide the globe, and so do the three belts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.grid import LatLonGrid
from slams.metrics.land_sea_mask import is_land, land_share

__all__ = ["REGIONS", "grid_regions", "point_regions"]

# In the order of the tables.
REGIONS = (
    "global",
    "northern_extratropics",
    "tropics",
    "southern_extratropics",
    "land",
    "sea",
)
_TROPIC = 20.0


def grid_regions(grid: LatLonGrid) -> Tensor:
    """Return the regions of every cell; a cell that is at least half land counts as land.

    Returns:
        `(R, H, W)` bool on the grid's device, in the order of `REGIONS`.
    """
    latitude, _ = grid.points
    land = (land_share(grid) >= 0.5).reshape(-1).to(latitude.device)
    return _stack(latitude, land).reshape(-1, *grid.shape)


def point_regions(latitude: Tensor, longitude: Tensor) -> Tensor:
    """Return the regions of points, `(R, P)` bool on their device, in the order of `REGIONS`.

    Args:
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east.
    """
    return _stack(latitude, is_land(latitude, longitude).to(latitude.device))


def _stack(latitude: Tensor, land: Tensor) -> Tensor:
    north, south = latitude > _TROPIC, latitude < -_TROPIC
    everywhere = torch.ones_like(land)
    return torch.stack([everywhere, north, ~(north | south), south, land, ~land])
