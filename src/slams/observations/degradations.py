"""The degradations of the original SLAMS: a channel observed directly, but coarse and sparse.

Area-weighted block means over `block` x `block` cells, of which every `gap`-th is kept in each
direction, starting in the north-west. The noise belongs to `R`, see `slams.observations.simulate`.

Source: Qu, Nathaniel, Li, Gentine 2024, arXiv 2404.06665, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.blocks import block_mean, block_spread, block_weights
from slams.observations.operator import PointOperator

__all__ = ["DegradedOperator"]


class DegradedOperator(PointOperator):
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
        super().__init__(grid, channels, channel_name)
        grid.check_block(block, "degradation block")
        coarse = grid.coarsen(block)
        if not 1 <= gap <= min(coarse.shape):
            raise UserError(
                f"degradation gap {gap}: expected between 1 and {min(coarse.shape)}, the smaller "
                f"side of the {' x '.join(map(str, coarse.shape))} lattice of blocks"
            )
        self.block, self.gap = block, gap
        self._coarse_shape = coarse.shape
        self._lattice_shape = tuple(-(-count // gap) for count in coarse.shape)
        self._weights = block_weights(grid, block)
        latitude, longitude = (p.reshape(coarse.shape) for p in coarse.points)
        self.latitude = latitude[::gap, ::gap].reshape(-1)
        self.longitude = longitude[::gap, ::gap].reshape(-1)

    def _observe(self, plane: Tensor) -> Tensor:
        means = block_mean(plane, self._weights, self.block)
        return means[..., :: self.gap, :: self.gap].flatten(-2)

    def _scatter(self, values: Tensor) -> Tensor:
        means = values.new_zeros(*values.shape[:-1], *self._coarse_shape)
        means[..., :: self.gap, :: self.gap] = values.unflatten(-1, self._lattice_shape)
        return block_spread(means, self._weights, self.block)
