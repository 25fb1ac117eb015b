r"""Images on a grid of their own: means of the state over the cells of the image.

An image cell `ij` sees the area mean of the state, which is constant in each of its own cells,

    y_ij = sum_kl A_ik B_jl f_kl

(`slams.linalg.overlaps`), whichever of the two grids is finer. Where a cell of the image is a
union of cells of the state, this is their mean weighted by area; where it lies inside one, the
value of that one. Its transpose is `A^T y B`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.linalg.overlaps import column_overlaps, row_overlaps
from slams.observations.operator import PointOperator

__all__ = ["ImageCellOperator", "ImageGrid"]


@dataclass(frozen=True)
class ImageGrid:
    """The grid of an image, global or regional.

    Attributes:
        latitude: `(y,)` float64 degrees north, north to south.
        longitude: `(x,)` float64 degrees east in [0, 360), centres of cells.
        bounds: `(y + 1,)` float64 degrees north, where the rows begin and end.
        spacing: Width of the cells (degrees).
    """

    latitude: Tensor
    longitude: Tensor
    bounds: Tensor
    spacing: float

    @classmethod
    def of_rows(cls, latitude: Tensor, longitude: Tensor, spacing: float) -> ImageGrid:
        """Return a grid whose rows meet in the middle between their latitudes.

        The outermost rows reach as far beyond their latitude, but not beyond a pole.
        """
        middle = (latitude[1:] + latitude[:-1]) / 2
        first, last = (2 * latitude[i] - middle[i] for i in (0, -1))
        bounds = torch.cat([first[None], middle, last[None]]).clamp(-90.0, 90.0)
        return cls(latitude, longitude, bounds, spacing)

    @classmethod
    def of_blocks(cls, grid: LatLonGrid, block: int) -> ImageGrid:
        """Return the grid of blocks of `block` x `block` cells of a model.

        Raises:
            UserError: The block does not divide the grid.
        """
        grid.check_block(block, "satellite footprint")
        coarse = grid.coarsen(block)
        return cls(
            coarse.latitude,
            torch.remainder(coarse.longitude, 360.0),
            coarse.latitude_bounds,
            coarse.spacing,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of cells in each direction `(y, x)`."""
        return len(self.latitude), len(self.longitude)


class ImageCellOperator(PointOperator):
    """Operator of one channel as area means over the cells of an image.

    Args:
        grid: The grid of the state.
        channels: The `C` channels of the state.
        channel_name: Name of the observed channel.
        image: The grid of the image.

    Attributes:
        image_shape: Number of cells in each direction `(y, x)`; `P = y * x` in row order.

    Raises:
        UserError: The channel is unknown.
    """

    def __init__(
        self,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        channel_name: str,
        image: ImageGrid,
    ) -> None:
        super().__init__(grid, channels, channel_name)
        latitude, longitude = torch.meshgrid(image.latitude, image.longitude, indexing="ij")
        self.latitude, self.longitude = latitude.reshape(-1), longitude.reshape(-1)
        self.image_shape = image.shape
        self._rows = torch.from_numpy(
            row_overlaps(grid.latitude_bounds.cpu().numpy(), image.bounds.numpy())
        )
        self._columns = torch.from_numpy(
            column_overlaps(
                grid.longitude.cpu().numpy(), grid.spacing, image.longitude.numpy(), image.spacing
            )
        )

    def _observe(self, plane: Tensor) -> Tensor:
        rows, columns = self._rows.to(plane.dtype), self._columns.to(plane.dtype)
        return (rows @ plane @ columns.T).flatten(-2)

    def _scatter(self, values: Tensor) -> Tensor:
        image = values.unflatten(-1, self.image_shape)
        rows, columns = self._rows.to(image.dtype), self._columns.to(image.dtype)
        return rows.T @ image @ columns
