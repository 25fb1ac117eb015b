r"""Footprints as circles on the sphere: means over grid cells weighted by the shared area.

The area that a cap of angular radius `r` about (`lat_0`, `lon_0`) shares with a cell is

    int overlap(lat) d(sin lat),    overlap(lat) = |[west, east] cap [lon_0 - D, lon_0 + D]|,
    cos D = (cos r - sin(lat) sin(lat_0)) / (cos(lat) cos(lat_0)),

exact along longitude. Along latitude the integrand ends like a square root at the edge of the cap;
with `sin lat = m + h sin(t)` it is smooth in `t`, and a few Gauss-Legendre points suffice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import EARTH_RADIUS_KM, LatLonGrid
from slams.observations.operator import WeightedOperator

__all__ = ["FootprintOperator", "cap_overlap"]

_NODES = 16
# Footprints computed at a time; limits the temporaries, not the result.
_CHUNK = 32


class FootprintOperator(WeightedOperator):
    """Operator of one channel as means over circular footprints, in the order of an image.

    Args:
        grid: The grid of the state.
        channels: The `C` channels of the state.
        channel_name: Name of the observed channel.
        block: Grid cells between the centres of two footprints in each direction.
        diameter_km: Diameter of a footprint; neighbours may overlap.

    Attributes:
        image_shape: Number of footprints in each direction `(y, x)`; `P = y * x` in row order.

    Raises:
        UserError: The block does not divide the grid, the diameter is not positive or wraps the
            Earth, or the channel is unknown.
    """

    def __init__(
        self,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        channel_name: str,
        block: int,
        diameter_km: float,
    ) -> None:
        super().__init__(grid, channels, channel_name)
        grid.check_block(block, "satellite footprint")
        if not 0 < diameter_km < math.pi * EARTH_RADIUS_KM:
            raise UserError(
                f"satellite footprint of {diameter_km:g} km; expected more than 0 and less than "
                f"half the Earth's circumference"
            )
        coarse = grid.coarsen(block)
        self.latitude, self.longitude = coarse.points
        self.image_shape = coarse.shape
        self.footprint = block
        rows, columns = coarse.shape
        # Caps of one row differ by a rotation about the axis only, so compute one of them.
        firsts = torch.arange(rows) * columns
        overlap = cap_overlap(
            grid,
            self.latitude[firsts],
            self.longitude[firsts],
            diameter_km / 2 / EARTH_RADIUS_KM,
        )
        rolled = [overlap.roll(block * column, dims=-1) for column in range(columns)]
        area = torch.stack(rolled, dim=1).flatten(0, 1).flatten(1)
        weight = area / area.sum(dim=1, keepdim=True)
        most = int((weight > 0).sum(dim=1).max())
        self._weight, self._index = weight.topk(most, dim=1)


def cap_overlap(grid: LatLonGrid, latitude: Tensor, longitude: Tensor, radius: float) -> Tensor:
    """Return the area that each cap shares with each grid cell, `(P, H, W)` float64 steradians.

    Args:
        grid: The grid.
        latitude: `(P,)` degrees north, centres of the caps.
        longitude: `(P,)` degrees east.
        radius: Angular radius of the caps (rad).
    """
    latitude, longitude = (torch.deg2rad(x.to(torch.float64)) for x in (latitude, longitude))
    parts = [
        _overlap(grid, lat, lon, radius)
        for lat, lon in zip(latitude.split(_CHUNK), longitude.split(_CHUNK), strict=True)
    ]
    return torch.cat(parts)


def _overlap(grid: LatLonGrid, latitude: Tensor, longitude: Tensor, radius: float) -> Tensor:
    bounds = torch.sin(torch.deg2rad(grid.latitude_bounds))
    # Southern and northern ends of the cap; a cap that contains a pole extends to it.
    north, south = ((latitude + s * radius).clamp(-math.pi / 2, math.pi / 2) for s in (1, -1))
    low = torch.maximum(bounds[None, 1:], torch.sin(south)[:, None])
    high = torch.minimum(bounds[None, :-1], torch.sin(north)[:, None])
    high = torch.maximum(low, high)
    # Around a pole inside the cap, whole circles of latitude are covered; their edge is a kink.
    rim = torch.where(latitude > 0, math.pi - latitude - radius, radius - math.pi - latitude)
    kink = torch.sin(rim.clamp(-math.pi / 2, math.pi / 2))[:, None].clamp(min=low, max=high)
    column = torch.deg2rad(grid.longitude.to(torch.float64))
    offset = torch.remainder(column - longitude[:, None] + math.pi, 2 * math.pi) - math.pi
    spacing = math.radians(grid.spacing)
    nodes, weights = (
        torch.from_numpy(x).to(bounds) for x in np.polynomial.legendre.leggauss(_NODES)
    )
    t = nodes * math.pi / 2
    w = weights * math.pi / 2 * torch.cos(t)
    total = torch.zeros(len(latitude), *grid.shape, dtype=torch.float64, device=bounds.device)
    for one, other in ((low, kink), (kink, high)):
        middle, half = (one + other) / 2, (other - one) / 2
        sine = (middle[..., None] + half[..., None] * torch.sin(t)).clamp(-1, 1)
        width = _half_width(sine, latitude[:, None, None], radius)
        shared = _shared(offset[:, None, None, :], spacing, width[..., None])
        total += (shared * (w * half[..., None])[..., None]).sum(dim=2)
    return total


def _half_width(sine: Tensor, latitude: Tensor, radius: float) -> Tensor:
    """Return half the range of longitudes (rad) that a cap covers at a latitude."""
    across = math.cos(radius) - sine * torch.sin(latitude)
    along = torch.sqrt((1 - sine**2).clamp(min=0)) * torch.cos(latitude)
    # At a pole `along` is 0: all longitudes or none.
    ratio = torch.where(along > 1e-15, across / along.clamp(min=1e-15), across.sign() * 2)
    return torch.acos(ratio.clamp(-1, 1))


def _shared(offset: Tensor, spacing: float, width: Tensor) -> Tensor:
    """Return the range of longitudes (rad) shared by cells at an offset and `[-width, width]`."""
    total = torch.zeros((), dtype=width.dtype, device=width.device)
    # A cell on the opposite side of the circle can overlap both ends.
    for turn in (-2 * math.pi, 0.0, 2 * math.pi):
        west, east = offset + turn - spacing / 2, offset + turn + spacing / 2
        total = total + (torch.minimum(east, width) - torch.maximum(west, -width)).clamp(min=0)
    return total
