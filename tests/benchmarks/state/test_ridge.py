"""Regression from moments is the direct one, for every part of the predictors."""

from __future__ import annotations

import pytest
import torch

from slams.benchmarks.state.ridge import Moments, choose_penalty, fit


@pytest.fixture
def samples() -> torch.Tensor:
    """Seven predictors, a constant and two targets, of 900 samples."""
    keyed = torch.Generator().manual_seed(0)
    x = torch.randn(7, 900, generator=keyed) + torch.arange(7)[:, None]
    truth = torch.randn(2, 7, generator=keyed)
    y = truth @ x + 3.0 + 0.3 * torch.randn(2, 900, generator=keyed)
    return torch.cat([x, torch.ones(1, 900), y])


def _direct(x: torch.Tensor, y: torch.Tensor, penalty: float) -> torch.Tensor:
    """Solve the ridge regression by an augmented least-squares problem, constant unpenalised."""
    count = x.shape[1]
    ridge = (penalty * count) ** 0.5 * torch.eye(len(x), dtype=torch.float64)
    ridge[-1, -1] = 0
    return torch.linalg.lstsq(
        torch.cat([x.T.double(), ridge]),
        torch.cat([y.T.double(), torch.zeros(len(x), len(y), dtype=torch.float64)]),
    ).solution


@pytest.mark.parametrize("penalty", [1e-4, 0.1])
@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 4, 5, 6, 7], [4, 1, 7], [7]])
def test_a_part_of_the_moments_is_the_direct_fit(
    samples: torch.Tensor, kept: list[int], penalty: float
) -> None:
    blocks = [Moments.of(block, 2) for block in samples.split(250, dim=1)]
    moments = sum(blocks[1:], blocks[0])
    found = fit(moments.select(torch.tensor(kept)), penalty)
    expected = _direct(samples[kept], samples[8:], penalty)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    error = (samples[8:].double() - found.T @ samples[kept].double()).square().mean(dim=1)
    quadratic = moments.select(torch.tensor(kept)).error(found)
    torch.testing.assert_close(quadratic, error, atol=1e-4, rtol=1e-4)


def test_the_penalty_is_chosen_on_the_samples_held_out() -> None:
    keyed = torch.Generator().manual_seed(1)
    x = torch.cat([torch.randn(40, 2060, generator=keyed), torch.ones(1, 2060)])
    noise = torch.randn(1, 2060, generator=keyed)
    held_out = torch.cat([x, noise])[:, 60:]
    # Pure noise in 40 dimensions from 60 samples: the largest penalty is best, and from 2,000
    # samples of a law without noise the smallest.
    seen = Moments.of(torch.cat([x, noise])[:, :60], 1)
    assert choose_penalty(seen, Moments.of(held_out, 1), [1e-4, 1e-1, 1e2]) == 1e2
    law = torch.cat([x, x[:1]])
    seen = Moments.of(law[:, :60], 1)
    assert choose_penalty(seen, Moments.of(law[:, 60:], 1), [1e-4, 1e-1, 1e2]) == 1e-4
