"""Layers commute with turns of the globe and see across its poles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from slams.nn.layers import FourierEmbedding, ModulatedBlock, ResidualBlock, SphereConv2d


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Return every parameter a value, those that start at zero too."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return module.eval()


def field(channels: int, rows: int = 6, columns: int = 12, seed: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, rows, columns, generator=draw)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_convolution_commutes_with_a_turn_of_the_globe(size: int) -> None:
    convolution = SphereConv2d(3, 4, size)
    x = field(3)
    for shift in (1, 5, 11):
        torch.testing.assert_close(convolution(x.roll(shift, -1)), convolution(x).roll(shift, -1))


@pytest.mark.parametrize(("row", "kernel_row"), [(0, 0), (5, 2)])
def test_convolution_sees_across_the_pole(row: int, kernel_row: int) -> None:
    """A point next to a pole is its own neighbour's neighbour, half a turn away."""
    convolution = SphereConv2d(1, 1)
    x = torch.zeros(1, 1, 6, 12)
    x[0, 0, row, 2] = 1.0
    seen = convolution(x)[0, 0, row] - convolution(torch.zeros_like(x))[0, 0, row]
    # Columns 7, 8, 9 lie around the opposite meridian; a kernel is correlated, not convolved.
    expected = convolution.weight[0, 0, kernel_row].flip(0)
    torch.testing.assert_close(seen[7:10], expected)
    torch.testing.assert_close(seen[1:4], convolution.weight[0, 0, 1].flip(0))
    assert not seen[[0, 5, 6, 10, 11]].any()


def test_convolution_refuses_an_even_kernel() -> None:
    with pytest.raises(ValueError, match="odd"):
        SphereConv2d(1, 1, 2)


def test_residual_blocks_start_as_the_identity_and_commute_with_turns() -> None:
    x, e = field(8), torch.randn(2, 16)
    torch.testing.assert_close(ResidualBlock(8)(x), x)
    torch.testing.assert_close(ModulatedBlock(8, 8, 16)(x, e), x)
    plain, modulated = randomise(ResidualBlock(8)), randomise(ModulatedBlock(8, 16, 16))
    torch.testing.assert_close(plain(x.roll(3, -1)), plain(x).roll(3, -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        modulated(x.roll(3, -1), e), modulated(x, e).roll(3, -1), rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(plain(x), x)


def test_modulation_scales_and_shifts_each_sample() -> None:
    block = randomise(ModulatedBlock(8, 8, 16))
    x, e = field(8), torch.randn(2, 16)
    both = block(x, e)
    assert not torch.allclose(both, block(x, e.flip(0)))
    torch.testing.assert_close(both[:1], block(x[:1], e[:1]), rtol=1e-5, atol=1e-6)


def test_fourier_embedding_has_the_periods_it_says() -> None:
    embedding = FourierEmbedding(12, longest=32.0, shortest=0.5)
    torch.testing.assert_close(
        2 * math.pi / embedding.frequencies,
        torch.tensor([32.0, 13.9288, 6.0629, 2.639, 1.1487, 0.5]),
        rtol=1e-4,
        atol=0,
    )
    value = torch.tensor([0.3, -2.0])
    sine, cosine = embedding(value).chunk(2, dim=-1)
    torch.testing.assert_close(sine.square() + cosine.square(), torch.ones(2, 6))
    torch.testing.assert_close(
        embedding(value + 32.0)[:, [0, 6]], embedding(value)[:, [0, 6]], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        embedding(value + 0.5)[:, [5, 11]], embedding(value)[:, [5, 11]], rtol=1e-4, atol=1e-5
    )
