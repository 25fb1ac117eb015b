"""What is given back of the background, with a decoder whose losses are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from slams.assimilators.background_residual import BackgroundResidual
from slams.assimilators.base import Archive
from slams.fields import Background
from slams.nn.latent_space import LatentSpace
from tests.grids import gaussian_grid

DAYS, SHAPE = 200, (1, 2, 6, 12)


class _Even(nn.Module):
    """Keeps the even columns; the decoder repeats them and errs by a constant."""

    factor = 1

    def forward(self, fields: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return fields[..., ::2], torch.zeros_like(fields[..., ::2])


class _Repeat(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return latents.repeat_interleave(2, dim=-1) - 5.0


@pytest.fixture
def residual() -> BackgroundResidual:
    space = LatentSpace(_Even(), _Repeat(), torch.zeros(2), torch.ones(2))
    return BackgroundResidual(space, gaussian_grid(*SHAPE[2:]), DAYS)


def drawn(seed: int) -> Tensor:
    """Return fields that are zero in the even columns: all that is lost of them but a constant."""
    fields = torch.randn(DAYS, *SHAPE, generator=torch.Generator().manual_seed(seed))
    fields[..., ::2] = 0
    return fields


def archive(share: tuple[float, float]) -> Archive:
    background = drawn(0)
    kept = torch.tensor(share)[:, None, None] * background
    return Archive(
        kept + 0.3 * drawn(1), background, torch.arange(DAYS, dtype=torch.float64)[:, None]
    )


@pytest.mark.parametrize("share", [(0.7, 0.0), (1.0, 0.4)])
def test_the_share_is_that_of_what_varies(
    residual: BackgroundResidual, share: tuple[float, float]
) -> None:
    """The constant error of the decoder, the same in both, is no share of the background."""
    residual.fit(archive(share), torch.device("cpu"))
    torch.testing.assert_close(residual.share, torch.tensor(share), rtol=0, atol=0.02)


def test_a_share_is_between_nothing_and_all(residual: BackgroundResidual) -> None:
    residual.fit(archive((1.5, -0.5)), torch.device("cpu"))
    assert residual.share.tolist() == [1.0, 0.0]


def test_a_lossless_background_gives_nothing_back(residual: BackgroundResidual) -> None:
    past = archive((0.7, 0.7))
    residual.fit(replace(past, background=torch.zeros(DAYS, *SHAPE)), torch.device("cpu"))
    assert residual.share.tolist() == [0.0, 0.0]


def test_missing_values_are_not_lost(residual: BackgroundResidual) -> None:
    past = archive((0.7, 0.5))
    known = torch.ones(past.fields.shape, dtype=torch.bool)
    known[:, :, 0] = False
    residual.fit(replace(past, known=known), torch.device("cpu"))
    torch.testing.assert_close(residual.share, torch.tensor([0.0, 0.5]), rtol=0, atol=0.02)


def test_offsets_of_days_and_of_a_case_are_the_same(residual: BackgroundResidual) -> None:
    past = archive((0.7, 0.4))
    residual.fit(past, torch.device("cpu"))
    days = torch.tensor([3, 8])
    found = residual.of_days(past, days)
    expected = residual.share[:, None, None] * (past.background[days] + 5.0)
    torch.testing.assert_close(found, expected)
    one = Background(past.background[3:4], torch.ones(1, *SHAPE), "file")
    torch.testing.assert_close(residual.of_case(one), found[:1])
