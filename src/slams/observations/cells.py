"""Cells of the globe that hold the points of an observing network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.grid import unit_vectors

__all__ = ["Cells", "equal_area_cells"]


@dataclass(frozen=True)
class Cells:
    """Cells that hold the points of a network, without empty ones.

    Attributes:
        index: `(P,)` int64, the cell of each point.
        size: `(S,)` int64, number of points in each cell.
        latitude: `(S,)` float64 degrees north, mean position of the points on the sphere.
        longitude: `(S,)` float64 degrees east in [0, 360); that of the point itself, in any range,
            if it is alone in its cell.
    """

    index: Tensor
    size: Tensor
    latitude: Tensor
    longitude: Tensor

    @classmethod
    def of(cls, names: Tensor, latitude: Tensor, longitude: Tensor) -> Cells:
        """Collect points in cells.

        Args:
            names: `(P,)` int64, equal for points of one cell.
            latitude: `(P,)` degrees north.
            longitude: `(P,)` degrees east, in any range.
        """
        latitude, longitude = latitude.to(torch.float64), longitude.to(torch.float64)
        _, index, size = torch.unique(names, return_inverse=True, return_counts=True)
        sums = torch.zeros(len(size), 3, dtype=torch.float64, device=index.device)
        sums.index_add_(0, index, unit_vectors(latitude, longitude))
        north = torch.rad2deg(torch.atan2(sums[:, 2], torch.hypot(sums[:, 0], sums[:, 1])))
        east = torch.rad2deg(torch.atan2(sums[:, 1], sums[:, 0])).remainder(360)
        east = torch.where(east < 360, east, 0.0)  # of a tiny negative number, by rounding
        alone = size[index] == 1
        north[index[alone]], east[index[alone]] = latitude[alone], longitude[alone]
        return cls(index, size, north, east)

    def __len__(self) -> int:
        return len(self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Add up the points of each cell: `(..., P)` to `(..., S)`."""
        sums = values.new_zeros(*values.shape[:-1], len(self))
        return sums.scatter_add(-1, self.index.expand(values.shape), values)

    def mean(self, values: Tensor) -> Tensor:
        """Average the points of each cell: `(..., P)` to `(..., S)`."""
        return self.sum(values) / self.size


def equal_area_cells(degrees: float, latitude: Tensor, longitude: Tensor) -> Tensor:
    """Find the cells of about equal area that contain points.

    Rows of cells have equal heights. The number of cells in a row is proportional to the cosine of
    its middle latitude, so that a cell is about as wide as it is high.

    Args:
        degrees: Height of the cells; rounded so that they fit between the poles.
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east, in any range.

    Returns:
        `(P,)` int64, equal for points in one cell.
    """
    rows = max(round(180 / degrees), 1)
    row = ((90 - latitude) * (rows / 180)).floor().clamp(0, rows - 1)
    middle = torch.deg2rad(90 - (row + 0.5) * (180 / rows))
    columns = (360 / degrees * torch.cos(middle)).round().clamp(min=1)
    column = (longitude.remainder(360) * (columns / 360)).floor()
    column = torch.minimum(column, columns - 1)
    return row.long() * (math.ceil(360 / degrees) + 1) + column.long()
