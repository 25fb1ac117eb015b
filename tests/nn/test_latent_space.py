"""What a latent channel does in the fields, against a decoder that is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from slams.nn.latent_space import LatentSpace, decoded_importance
from slams.runtime.seeds import generator


class _Linear(nn.Module):
    """Decodes `(B, K, h, w)` by a matrix `(C, K)`, point by point, plus a constant."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, latents: Tensor) -> Tensor:
        return torch.einsum("ck,bkhw->bchw", self.matrix, latents) + 3.0


def test_a_linear_decoder_weighs_by_the_squares_of_its_columns() -> None:
    draw = torch.Generator().manual_seed(0)
    matrix = torch.randn(5, 3, generator=draw)
    mean, sd = torch.randn(3, generator=draw), torch.tensor([0.5, 1.0, 3.0])
    space = LatentSpace(nn.Identity(), _Linear(matrix), mean, sd)
    latents = torch.randn(40, 1, 3, 10, 20, generator=draw)
    found = decoded_importance(space, latents, generator(0, "test"), torch.ones(10))
    expected = matrix.square().sum(dim=0) * sd**2
    # 8000 draws a channel: their variance is known to 2 %.
    torch.testing.assert_close(found, expected / expected.mean(), rtol=0.05, atol=0)
    assert float(found.mean()) == pytest.approx(1)


def test_what_a_channel_does_where_rows_are_short_counts_little() -> None:
    """The first channel moves the first row alone, the second the other."""

    class Rows(nn.Module):
        def forward(self, latents: Tensor) -> Tensor:
            rows = torch.eye(2)[:, :, None]
            return (latents * rows).sum(dim=1, keepdim=True)

    space = LatentSpace(nn.Identity(), Rows(), torch.zeros(2), torch.ones(2))
    latents = torch.zeros(200, 1, 2, 2, 100)
    area = torch.tensor([0.5, 1.5])
    found = decoded_importance(space, latents, generator(0, "test"), area)
    torch.testing.assert_close(found, area, rtol=0.05, atol=0)
