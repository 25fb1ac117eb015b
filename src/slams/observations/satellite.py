"""Satellite imagery: footprints that average grid cells, and swaths that shift from day to day.

The swaths are those of a sun-synchronous orbit (inclination 98.6 degrees, 14.38 revolutions per
day, a height of about 780 km). With `u` the angle along the orbit from the equator, the ascending
track is

    sin(latitude) = sin(inclination) sin(u)
    longitude     = node + atan2(cos(inclination) sin(u), cos(u)) - u / revolutions,

with 14 tracks per day; the nodes drift by the remaining fraction of a revolution. At each latitude
the width of a swath is the requested fraction of the distance between two tracks, so that the
coverage is the same at every latitude. The overlap of real swaths near the poles is omitted on
purpose, because it would tie the coverage at low latitudes to the orbit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.blocks import BlockOperator

__all__ = ["SatelliteOperator", "swath_mask"]

_TRACKS = 14
_INCLINATION = math.radians(98.6)
# The fraction of a revolution that remains at the end of a day is the golden section, so that the
# orbit does not repeat after a few days and even narrow swaths observe every place.
_REVOLUTIONS = _TRACKS + (3 - math.sqrt(5)) / 2


class SatelliteOperator(BlockOperator):
    """Operator of one channel as area-weighted means over square footprints.

    Args:
        grid: The grid of the state.
        channels: The `C` channels of the state.
        channel_name: Name of the observed channel.
        footprint: Grid cells in each direction.

    Raises:
        UserError: The footprint does not divide the grid, or the channel is unknown.
    """

    def __init__(
        self,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        channel_name: str,
        footprint: int = 1,
    ) -> None:
        super().__init__(grid, channels, channel_name, footprint, "satellite footprint")


def swath_mask(
    latitude: Tensor,
    longitude: Tensor,
    time: Tensor | float,
    coverage: float,
    step: float = 1.0,
) -> Tensor:
    """Return which points are inside the swaths of a day, or step; depends on its date only.

    The tracks of a day are flown one after the other, westwards: a step of a quarter of a day has
    a quarter of them, and the steps of a day together see what the day sees, each point once.

    Args:
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east.
        time: `(...)` days since 1970-01-01 00 UTC; the time within a step does not matter.
        coverage: Fraction of the globe observed in a day, in (0, 1].
        step: Length of a step (days).

    Returns:
        `(..., P)` bool, True where observed.

    Raises:
        UserError: The coverage lies outside (0, 1].
    """
    if not 0 < coverage <= 1:
        raise UserError(f"coverage of the satellite swaths is {coverage:g}; expected in (0, 1]")
    latitude = torch.deg2rad(latitude.to(torch.float64))
    time = torch.as_tensor(time, dtype=torch.float64, device=latitude.device)
    day = torch.floor(time)
    if coverage == 1 and step == 1:
        return torch.ones(*day.shape, len(latitude), dtype=torch.bool, device=latitude.device)
    # The track does not reach the poles; points beyond it are observed with its turning point.
    along = torch.asin((torch.sin(latitude) / math.sin(_INCLINATION)).clamp(-1, 1))
    track = torch.atan2(math.cos(_INCLINATION) * torch.sin(along), torch.cos(along))
    track = torch.rad2deg(track - along / _REVOLUTIONS)
    spacing = 360.0 / _TRACKS
    phase = (longitude.to(torch.float64) - track) / spacing + (day * _REVOLUTIONS)[..., None]
    seen = torch.remainder(phase, 1.0) < coverage
    if step == 1:
        return seen
    # Westwards from the first track of the day.
    track = torch.remainder(-torch.floor(phase), _TRACKS)
    number = torch.floor((time - day) / step + 1e-6)[..., None]
    return seen & (torch.floor(track / (_TRACKS * step)) == number)
