"""The degradations of the original SLAMS: a channel observed directly, but coarse and sparse.

Area-weighted block means over `block` x `block` cells, of which every `gap`-th is kept in each
direction, starting in the north-west. The noise belongs to `R`, see `slams.observations.simulate`.

Source: Qu, Nathaniel, Li, Gentine 2024, arXiv 2404.06665, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.blocks import BlockOperator

__all__ = ["DegradedOperator"]


class DegradedOperator(BlockOperator):
    """Operator of one channel on a sparse lattice of block means.

    Args:
        grid: The grid of the state.
        channels: The `C` channels of the state.
        channel_name: Name of the observed channel.
        block: Grid cells of a block mean in each direction.
        gap: Every `gap`-th block is kept in each direction.

    Raises:
        UserError: The block does not divide the grid, the gap is not between 1 and the number
            of blocks, or the channel is unknown.
    """

    def __init__(
        self,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        channel_name: str,
        block: int = 1,
        gap: int = 1,
    ) -> None:
        super().__init__(grid, channels, channel_name, block, "degradation block")
        shape = self.image_shape
        if not 1 <= gap <= min(shape):
            raise UserError(
                f"degradation gap {gap}: expected between 1 and {min(shape)}, the smaller "
                f"side of the {' x '.join(map(str, shape))} lattice of blocks"
            )
        self._kept = torch.arange(len(self)).reshape(shape)[::gap, ::gap].flatten()
        self._blocks = len(self)
        self.latitude, self.longitude = self.latitude[self._kept], self.longitude[self._kept]

    def _observe(self, plane: Tensor) -> Tensor:
        return super()._observe(plane)[..., self._kept]

    def _scatter(self, values: Tensor) -> Tensor:
        means = values.new_zeros(*values.shape[:-1], self._blocks)
        means[..., self._kept] = values
        return super()._scatter(means)
