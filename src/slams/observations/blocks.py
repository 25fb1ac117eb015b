"""Means over blocks of grid cells, weighted by area.

A block takes `n` rows and `n` columns. Cells of one row have equal areas, so the weight of a
cell is its row's area over `n` times the sum of the block's row areas.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.operator import PointOperator

__all__ = ["BlockOperator"]


class BlockOperator(PointOperator):
    """Operator of one channel as area-weighted means over blocks, in the order of an image.

    Args:
        grid: The grid of the state.
        channels: The `C` channels of the state.
        channel_name: Name of the observed channel.
        block: Grid cells of a block in each direction; must divide the grid.
        what: Name of the block in messages.

    Attributes:
        footprint: Grid cells of a block in each direction.
        image_shape: Number of blocks in each direction `(y, x)`; `P = y * x` in row order.

    Raises:
        UserError: The block does not divide the grid, or the channel is unknown.
    """

    def __init__(
        self,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        channel_name: str,
        block: int,
        what: str,
    ) -> None:
        super().__init__(grid, channels, channel_name)
        grid.check_block(block, what)
        coarse = grid.coarsen(block)
        self.latitude, self.longitude = coarse.points
        self.image_shape = coarse.shape
        self.footprint = block
        rows = grid.weights.reshape(-1, block)
        self._weights = (rows / (block * rows.sum(dim=1, keepdim=True))).reshape(-1)

    def _observe(self, plane: Tensor) -> Tensor:
        (rows, columns), block = self.image_shape, self.footprint
        cells = plane.unflatten(-1, (columns, block)).sum(dim=-1)
        cells = cells * self._weights.to(plane.dtype)[:, None]
        return cells.unflatten(-2, (rows, block)).sum(dim=-2).flatten(-2)

    def _scatter(self, values: Tensor) -> Tensor:
        means = values.unflatten(-1, self.image_shape)
        cells = torch.repeat_interleave(means, self.footprint, dim=-2)
        cells = cells * self._weights.to(means.dtype)[:, None]
        return torch.repeat_interleave(cells, self.footprint, dim=-1)
