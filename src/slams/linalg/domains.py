"""Overlapping domains that cover the globe, with shares by which their analyses are blended.

Centres of domains stand in bands of equal latitude, about `spacing` apart in both directions. The
shares of a point in the (at most four) domains around it sum to one. Between two centres they
change by a smooth step over the fraction `_RAMP` of the distance, so that a blend of analyses has
no seam.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from slams.grid import EARTH_RADIUS_KM, LatLonGrid, great_circle, unit_vectors

__all__ = ["Domains"]

# Fraction of the distance between two centres over which one domain gives way to the next.
_RAMP = 0.8


@dataclass(frozen=True)
class Domains:
    """Domains of the points of a grid.

    Attributes:
        centres: `(D, 3)` float64 unit vectors.
        radius: `(D,)` float64, distance (km) from the centre to the farthest point.
        points: `(D, g)` int64 points of the grid, padded with any point.
        shares: `(D, g)` float32 shares of the domain in its points, 0 for padding.
        numbers: `(D,)` int64 numbers of the domains.
        per_band: `(R,)` int64 domains of each band of latitude; empty for one domain.
    """

    centres: Tensor
    radius: Tensor
    points: Tensor
    shares: Tensor
    numbers: Tensor
    per_band: Tensor

    def __len__(self) -> int:
        return len(self.centres)

    @classmethod
    def whole(cls, count: int, device: torch.device | str = "cpu") -> Domains:
        """Return one domain that has all of some points.

        Args:
            count: Number of points.
            device: Device of the result.
        """
        pole = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64, device=device)
        return cls(
            pole,
            pole.new_full((1,), math.pi * EARTH_RADIUS_KM),
            torch.arange(count, device=device)[None],
            torch.ones(1, count, device=device),
            torch.zeros(1, dtype=torch.int64, device=device),
            torch.empty(0, dtype=torch.int64, device=device),
        )

    @classmethod
    def cover(cls, grid: LatLonGrid, spacing_km: float) -> Domains:
        """Return overlapping domains that cover a grid.

        Args:
            grid: The grid.
            spacing_km: Distance (km) between neighbouring centres.
        """
        half_way = math.pi * EARTH_RADIUS_KM
        bands = max(round(half_way / spacing_km), 1)
        latitude = 90 - 180 * (torch.arange(bands, dtype=torch.float64) + 0.5) / bands
        around = 2 * half_way * torch.cos(torch.deg2rad(latitude)) / spacing_km
        per_band = around.round().clamp(min=1).long()
        longitude = torch.cat([360 / n * torch.arange(n, dtype=torch.float64) for n in per_band])
        centres = unit_vectors(latitude.repeat_interleave(per_band), longitude)
        here = tuple(x.cpu() for x in grid.points)
        owner, share = _shares(per_band, *here)
        point = torch.arange(len(owner))[:, None].expand_as(owner)
        chosen = share > 0
        pairs, same = torch.unique(
            torch.stack([owner[chosen], point[chosen]]), dim=1, return_inverse=True
        )
        # A domain that goes round the globe is its own neighbour: its shares of a point are added.
        total = share.new_zeros(pairs.shape[1]).index_add_(0, same, share[chosen])
        count = torch.bincount(pairs[0], minlength=len(centres))
        place = torch.arange(pairs.shape[1]) - (count.cumsum(0) - count)[pairs[0]]
        points = torch.zeros(len(centres), int(count.max()), dtype=torch.int64)
        shares = torch.zeros(points.shape)
        points[pairs[0], place] = pairs[1]
        shares[pairs[0], place] = total.float()
        away = great_circle(centres[:, None], unit_vectors(*here)[points])[:, 0]
        radius = torch.where(shares > 0, away, 0.0).amax(dim=1)
        device = grid.latitude.device  # the rest above is small, and made on the CPU
        parts = (centres, radius, points, shares, torch.arange(len(centres)), per_band)
        return cls(*(part.to(device) for part in parts))

    def part(self, rank: int, world: int) -> Domains:
        """Return every `world`-th domain, starting with number `rank`."""
        some = slice(rank, None, world)
        return replace(
            self,
            centres=self.centres[some],
            radius=self.radius[some],
            points=self.points[some],
            shares=self.shares[some],
            numbers=self.numbers[some],
        )

    def shares_at(self, latitude: Tensor, longitude: Tensor) -> Tensor:
        """Return the shares of the domains in some positions.

        Args:
            latitude: `(P,)` float64 degrees north.
            longitude: `(P,)` float64 degrees east.

        Returns:
            `(D, P)` float32; each column has the sum 1 over all domains.
        """
        count = int(self.per_band.sum()) if len(self.per_band) else 1
        result = torch.zeros(count, len(latitude), device=latitude.device)
        if not len(self.per_band):
            return (result + 1)[self.numbers]
        owner, share = _shares(self.per_band.to(latitude.device), latitude, longitude)
        return result.T.contiguous().scatter_add_(1, owner, share.float()).T[self.numbers]


def _shares(per_band: Tensor, latitude: Tensor, longitude: Tensor) -> tuple[Tensor, Tensor]:
    """Return the four domains around each position and their shares, `(P, 4)` each."""
    bands = len(per_band)
    first = per_band.cumsum(0) - per_band
    down = ((90 - latitude) / 180 * bands - 0.5).clamp(0, bands - 1)
    owners, shares = [], []
    for band, of_band in _neighbours(down):
        count = per_band[band.clamp(max=bands - 1)]
        for column, of_column in _neighbours(longitude % 360 / 360 * count):
            owners.append(first[band.clamp(max=bands - 1)] + column % count)
            shares.append(of_band * of_column)
    return torch.stack(owners, dim=1), torch.stack(shares, dim=1)


def _neighbours(position: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the two whole numbers around positions, with their shares."""
    below = position.floor()
    step = ((position - below - 0.5) / _RAMP + 0.5).clamp(0, 1)
    above = step.square() * (3 - 2 * step)
    return (below.long(), 1 - above), (below.long() + 1, above)
