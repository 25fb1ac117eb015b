"""Means over blocks of grid cells, weighted by area, and their transpose.

A block takes `n` rows and `n` columns. Cells of one row have equal areas, so the weight of a
cell is its row's area over `n` times the sum of the block's row areas.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.grid import LatLonGrid

__all__ = ["block_mean", "block_spread", "block_weights"]


def block_weights(grid: LatLonGrid, block: int) -> Tensor:
    """Return the weight of the cells of each row within their block, `(H,)` float64.

    Args:
        grid: The grid.
        block: Cells in each direction; must divide the grid.
    """
    rows = grid.weights.reshape(-1, block)
    return (rows / (block * rows.sum(dim=1, keepdim=True))).reshape(-1)


def block_mean(plane: Tensor, weights: Tensor, block: int) -> Tensor:
    """Average `(..., H, W)` over blocks; return `(..., H / block, W / block)`.

    Args:
        plane: `(..., H, W)`.
        weights: `(H,)` of `block_weights`.
        block: Cells in each direction.
    """
    rows, columns = plane.shape[-2:]
    cells = plane.unflatten(-1, (columns // block, block)).sum(dim=-1)
    cells = cells * weights.to(plane.dtype)[:, None]
    return cells.unflatten(-2, (rows // block, block)).sum(dim=-2)


def block_spread(means: Tensor, weights: Tensor, block: int) -> Tensor:
    """Apply the transpose of `block_mean`: `(..., h, w)` to `(..., h * block, w * block)`."""
    cells = torch.repeat_interleave(means, block, dim=-2)
    cells = cells * weights.to(means.dtype)[:, None]
    return torch.repeat_interleave(cells, block, dim=-1)
