r"""Representativeness error: variability at a station that the mean over a grid cell removes.

Below a few hundred kilometres the spectra of temperature and wind follow `k^(-5/3)` (Nastrom and
Gage 1985). The variance in all scales shorter than the grid spacing `d` is then

    int_{1/d}^inf k^(-5/3) dk  ~  d^(2/3),

so that the standard deviation, stated as `s` for a spacing `d_0`, is

    s(d) = s (d / d_0)^(1/3).

The spacing at a station is the square root of the area of the grid cell that contains it.

Source: Nastrom and Gage 1985, doi 10.1175/1520-0469(1985)042<0950:ACOAWS>2.0.CO;2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slams.grid import EARTH_RADIUS_KM, LatLonGrid

__all__ = ["grid_spacing_km", "representativeness_sd"]


def grid_spacing_km(grid: LatLonGrid, latitude: Tensor) -> Tensor:
    """Return the square root of the area of the cell around each point, `(P,)` float64 km.

    Args:
        grid: The grid.
        latitude: `(P,)` degrees north.
    """
    bounds = grid.latitude_bounds
    # Bounds run from north to south; the search requires increasing values.
    row = torch.bucketize(-latitude.to(torch.float64), -bounds[1:-1])
    sine = torch.sin(torch.deg2rad(bounds))
    area = (sine[:-1] - sine[1:]) * math.radians(grid.spacing) * EARTH_RADIUS_KM**2
    return area[row].sqrt()


def representativeness_sd(
    stated: float, stated_km: float, grid: LatLonGrid, latitude: Tensor
) -> Tensor:
    """Scale a representativeness error to the grid spacing at each point, `(P,)` float64.

    Args:
        stated: Standard deviation at the reference spacing.
        stated_km: Reference spacing (km); 0 applies `stated` everywhere.
        grid: The grid.
        latitude: `(P,)` degrees north.
    """
    if stated_km <= 0:
        return torch.full_like(latitude, stated, dtype=torch.float64)
    return stated * (grid_spacing_km(grid, latitude) / stated_km) ** (1 / 3)
