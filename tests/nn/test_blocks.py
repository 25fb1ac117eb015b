"""Blocks that do not divide a grid: what is added, what is left out again, and crops of it."""

from __future__ import annotations

import pytest
import torch

from slams.nn.blocks import BlockGrid, Crop

UNEVEN = [((121, 240), 4), ((7, 10), 4), ((181, 360), 8), ((6, 9), 4), ((12, 45), 2)]


@pytest.mark.parametrize(("shape", "block"), UNEVEN)
@pytest.mark.parametrize("pole_rows", [False, True])
def test_what_is_added_is_left_out_again(shape, block, pole_rows) -> None:
    blocks = BlockGrid(shape, block, pole_rows)
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    padded = blocks.pad(x)
    assert padded.shape[-2:] == tuple(n * block for n in blocks.block_shape)
    assert torch.equal(blocks.trim(padded), x)
    assert torch.equal(blocks.trim(blocks.pad(x > 0)), x > 0)


def test_whole_blocks_are_left_alone() -> None:
    blocks, x = BlockGrid((12, 24), 4), torch.randn(2, 12, 24)
    assert blocks.pad(x) is x
    assert blocks.trim(x) is x


def test_rows_continue_across_the_poles() -> None:
    x = torch.arange(35.0).reshape(5, 7)[:, :6]
    padded = BlockGrid((5, 6), 3).pad(x)  # 6 rows: one beyond the south pole
    assert torch.equal(padded[:5], x)
    assert torch.equal(padded[5], x[4].roll(3))
    # A row that lies on the pole is not its own neighbour.
    assert torch.equal(BlockGrid((5, 6), 3, pole_rows=True).pad(x)[5], x[3].roll(3))


@pytest.mark.parametrize(("shape", "block"), [*UNEVEN, ((12, 24), 4)])
def test_weights_of_the_grid_are_kept(shape, block) -> None:
    blocks = BlockGrid(shape, block)
    rows = torch.rand(shape[0], generator=torch.Generator().manual_seed(1)).double()
    points = blocks.point_weights(rows)
    # Every point counts once and what was added does not.
    torch.testing.assert_close(points.sum(), rows.sum() * shape[1])
    torch.testing.assert_close(blocks.trim(points), rows[:, None].expand(shape))
    torch.testing.assert_close(blocks.row_means(rows).mean(), rows.mean())
    sums = points.sum(dim=1).reshape(-1, block).sum(dim=1)
    torch.testing.assert_close(blocks.row_means(rows), sums / sums.mean() * rows.mean())


def test_crops_are_rectangles_of_whole_blocks_and_wrap() -> None:
    blocks = BlockGrid((12, 24), 4)
    x = torch.arange(12 * 24).reshape(12, 24)
    crop = Crop((3, 6), 4, top=1, left=4, shape=(2, 3), margin=1)
    points = crop.points(blocks.pad(x))
    assert torch.equal(points, torch.cat([x[4:, 16:], x[4:, :4]], dim=1))
    patches = crop.patches(torch.arange(18).reshape(3, 6))
    assert patches.tolist() == [[10, 11, 6], [16, 17, 12]]


@pytest.mark.parametrize(
    ("top", "shape", "expected"),
    [
        (2, (4, 5), [[0] * 5, [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0] * 5]),
        (0, (3, 5), [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0] * 5]),  # a pole has no margin
        (5, (3, 5), [[0] * 5, [0, 1, 1, 1, 0], [0, 1, 1, 1, 0]]),
        (2, (3, 9), [[0] * 9, [1] * 9, [0] * 9]),  # nor has a full circle
        (0, (8, 9), [[1] * 9] * 8),
    ],
)
def test_the_margin(top: int, shape: tuple[int, int], expected: list[list[int]]) -> None:
    inside = Crop((8, 9), 4, top, left=0, shape=shape, margin=1).interior()
    assert inside.int().tolist() == expected


def test_crops_cover_the_rows_alike() -> None:
    """Each row is covered at least half as often, and at most twice as often, as the mean row."""
    torch.manual_seed(0)
    blocks, counts, columns = BlockGrid((80, 40), 4), torch.zeros(20), torch.zeros(10)
    for _ in range(4000):
        crop = Crop.draw(blocks, (8, 4), 1)
        assert 0 <= crop.top <= 12
        counts[crop.top : crop.top + 8] += crop.interior()[:, 1].float()
        columns[crop.left] += 1
    assert float(counts.min() / counts.mean()) > 0.5
    assert float(counts.max() / counts.mean()) < 2
    assert float(columns.min() / columns.max()) > 0.75
    expected = Crop.coverage(blocks, (8, 4), 1)
    torch.testing.assert_close(counts * 2 / 10 / 4000, expected, rtol=0.1, atol=0)
    assert Crop.draw(blocks, (20, 10), 1) == Crop((20, 10), 4, 0, 0, (20, 10), 1)
