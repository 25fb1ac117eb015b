"""Blocks of `f x f` grid points that cover a grid on the sphere, and rectangles of blocks.

Where the block does not divide the grid, the grid is continued to whole blocks: rows across the
poles (half of them at either pole, see `slams.grid.block_rows`), columns around the globe, where
neighbouring blocks overlap by equal numbers of columns (`slams.grid.block_columns`). A network
computes on whole blocks, and what was added is left out of its result. Where the block divides
the grid, nothing is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from slams.grid import block_columns, block_rows
from slams.nn.sphere import continue_rows

__all__ = ["BlockGrid", "Crop"]


@dataclass(frozen=True)
class BlockGrid:
    """The blocks of a grid.

    Attributes:
        shape: `(H, W)` of the grid.
        block: Size `f` of a block in grid points in each direction.
        pole_rows: Whether the outermost rows lie on the poles (`LatLonGrid.pole_rows`).
    """

    shape: tuple[int, int]
    block: int
    pole_rows: bool = False

    @property
    def block_shape(self) -> tuple[int, int]:
        """Return the number of blocks `(h, w)`: that of the points divided by `f`, rounded up."""
        return -(-self.shape[0] // self.block), -(-self.shape[1] // self.block)

    @property
    def added(self) -> tuple[int, int]:
        """Return the number of rows that are added beyond the north and the south pole."""
        edges = block_rows(self.shape[0], self.block)
        return self.block - edges[1], self.block - (edges[-1] - edges[-2])

    def pad(self, x: Tensor) -> Tensor:
        """Continue `(..., H, W)` scalars or masks to whole blocks, `(..., h f, w f)`."""
        if any(self.added):
            x = continue_rows(x, *self.added, self.pole_rows)
        return x if self._columns is None else x[..., self._columns[0].to(x.device)]

    def trim(self, x: Tensor) -> Tensor:
        """Return the grid's own points `(..., H, W)` of `(..., h f, w f)` in whole blocks."""
        north, south = self.added
        if north or south:
            x = x[..., north : x.shape[-2] - south, :]
        return x if self._columns is None else x[..., self._columns[1].to(x.device)]

    def row_means(self, weights: Tensor) -> Tensor:
        """Return the weight of each row of blocks, `(h,)`, of weights of the rows, `(H,)`.

        The weight is proportional to the sum over the grid's own rows of a block; the mean over
        the blocks is that over the rows.
        """
        (rows, _), (count, _) = self.shape, self.block_shape
        mean = functional.pad(weights, self.added).reshape(count, -1).mean(dim=1)
        return mean * (count * self.block / rows)

    def point_weights(self, weights: Tensor) -> Tensor:
        """Return `(h f, w f)` weights of points from those of the rows, `(H,)`; 0 where added."""
        rows = functional.pad(weights, self.added)[:, None]
        own = torch.ones(self.block_shape[1] * self.block, dtype=rows.dtype)
        if self._columns is not None:
            own = torch.zeros_like(own).index_fill(0, self._columns[1], 1.0)
        return rows * own.to(rows.device)

    @cached_property
    def _columns(self) -> tuple[Tensor, Tensor] | None:
        """Return indices of the columns in blocks, and of the own columns among these."""
        columns, block = self.shape[1], self.block
        if columns % block == 0:
            return None
        starts = torch.tensor(block_columns(columns, block))
        every = (starts[:, None] + torch.arange(block)).flatten() % columns
        at = torch.arange(columns)
        holder = torch.searchsorted(starts, at, right=True) - 1
        return every, holder * block + at - starts[holder]


@dataclass(frozen=True)
class Crop:
    """A rectangle of blocks, as a part of the whole globe on which a network can be trained.

    Convolutions continue a crop as if it were the globe, so that values near its edges are not
    those of the whole field: a margin is left out of the loss. There is no margin at a pole (where
    a crop that is not a full circle continues with its own meridians) nor in longitude if the crop
    is a full circle.

    Attributes:
        whole: `(h, w)` blocks of the grid.
        block: Size `f` of a block in grid points.
        top: First row of blocks.
        left: First column of blocks; the crop may extend across the last.
        shape: `(n, m)` blocks of the crop.
        margin: Blocks at the edges that the loss leaves out.
    """

    whole: tuple[int, int]
    block: int
    top: int
    left: int
    shape: tuple[int, int]
    margin: int

    @classmethod
    def draw(cls, blocks: BlockGrid, shape: tuple[int, int], margin: int) -> Crop:
        """Draw a crop of `shape = (n, m)` blocks at random, with torch's global generator.

        Longitudes are drawn uniformly. Latitudes are drawn as if a crop could extend beyond a
        pole by half of its rows, and such a crop is moved to the pole: otherwise the loss would
        cover polar rows more rarely than others.
        """
        columns = blocks.block_shape[1]
        tops = _tops(blocks.block_shape[0], shape[0])
        top = tops[int(torch.randint(len(tops), ()))]
        left = int(torch.randint(columns, ())) if shape[1] < columns else 0
        return cls(blocks.block_shape, blocks.block, top, left, shape, margin)

    @classmethod
    def coverage(cls, blocks: BlockGrid, shape: tuple[int, int], margin: int) -> Tensor:
        """Return `(h,)`, the probability that the interior of a drawn crop covers a block."""
        counts, tops = torch.zeros(blocks.block_shape[0]), _tops(blocks.block_shape[0], shape[0])
        for top in tops:
            inside = cls(blocks.block_shape, blocks.block, top, 0, shape, margin).interior()
            counts[top : top + shape[0]] += inside.sum(dim=1)
        return counts / (len(tops) * blocks.block_shape[1])

    def patches(self, x: Tensor) -> Tensor:
        """Return `(..., n, m)`, the crop of `(..., h, w)` values of blocks."""
        return self._cut(x, 1)

    def points(self, x: Tensor) -> Tensor:
        """Return `(..., n f, m f)`, the crop of `(..., h f, w f)` points in whole blocks."""
        return self._cut(x, self.block)

    def interior(self) -> Tensor:
        """Return `(n, m)`, True for blocks that the loss covers."""
        (rows, columns), (height, width) = self.whole, self.shape
        inside = torch.ones(height, width, dtype=torch.bool)
        if self.top > 0:
            inside[: self.margin] = False
        if self.top + height < rows:
            inside[height - self.margin :] = False
        if width < columns:
            inside[:, : self.margin] = False
            inside[:, width - self.margin :] = False
        return inside

    def _cut(self, x: Tensor, scale: int) -> Tensor:
        height, width = (size * scale for size in self.shape)
        x = x[..., self.top * scale : self.top * scale + height, :]
        return x.roll(-self.left * scale, dims=-1)[..., :width] if self.left else x[..., :width]


def _tops(rows: int, height: int) -> list[int]:
    """Return the first rows of crops, each equally likely, see `Crop.draw`."""
    beyond = height // 2 if height < rows else 0
    last = rows - height
    return [min(max(top, 0), last) for top in range(-beyond, last + beyond + 1)]
