"""The zonal regression against chains whose best linear forecast is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.zonal_regression import ZonalRegression
from slams.errors import UserError


def turning(days: int, seed: int = 1) -> Tensor:
    """Make days on 3 x 8 points: each turns eastwards, and takes something from the row above.

    x(t) = 0.5 R^2 x(t - 1) + 0.3 R x(t - 2), shifted down by a row, + 0.6 noise
    """
    generator = torch.Generator().manual_seed(seed)
    noise = 0.6 * torch.randn(days, 1, 1, 3, 8, generator=generator)
    states = [noise[0], noise[1]]
    for step in noise[2:]:
        down = torch.zeros_like(step)
        down[..., 1:, :] = states[-2][..., :-1, :].roll(1, dims=-1)
        states.append(0.5 * states[-1].roll(2, dims=-1) + 0.3 * down + step)
    return torch.stack(states)


def archive(states: Tensor) -> Archive:
    time = torch.arange(len(states), dtype=torch.float64)[:, None]
    return Archive(states, torch.zeros(()).expand(states.shape), time)


def fit(states: Tensor, **settings) -> ZonalRegression:
    settings = {"rows": 1, "gap": 5, "ridges": (0.001,), **settings}
    return ZonalRegression(archive(states), **settings)


def error(model: ZonalRegression, states: Tensor) -> float:
    """Return the mean squared error of forecasts of a series."""
    past = model.past
    windows = torch.stack([states[i : len(states) - past + i, 0] for i in range(past)], dim=1)
    return float((states[past:, 0] - model.forecast(windows)).square().mean())


def test_approaches_the_best_linear_forecast() -> None:
    model, new = fit(turning(3000)), turning(1000, seed=2)
    assert error(model, new) == pytest.approx(0.36, rel=0.04)
    unit = torch.zeros(2, 2, 1, 3, 8)
    unit[0, 1, 0, 1, 3] = 1.0  # the last day
    unit[1, 0, 0, 1, 3] = 1.0  # the day before
    last, before = model.forecast(unit)
    expected = torch.zeros(2, 1, 3, 8)
    expected[0, 0, 1, 5] = 0.5
    expected[1, 0, 2, 4] = 0.3
    torch.testing.assert_close(torch.stack([last, before]), expected, rtol=0, atol=0.06)


def test_the_day_before_and_the_next_rows_help() -> None:
    states, new = turning(3000), turning(1000, seed=2)
    whole = error(fit(states), new)
    assert error(fit(states, past=1), new) > 1.05 * whole
    assert error(fit(states, rows=0), new) > 1.05 * whole
    # The shortest waves are left to the climatology.
    assert error(fit(states, waves=3), new) > 1.05 * whole


def test_errors_are_those_of_days_it_has_not_seen() -> None:
    states, new = turning(90), turning(2000, seed=2)
    model = fit(states, ridges=(0.003,), gap=1)
    outside, claimed = error(model, new), float(model.variance.mean())
    assert error(model, states) < 0.93 * outside
    assert claimed == pytest.approx(outside, rel=0.1)
    # Errors are truth minus forecast, of the days that they are said to be of.
    assert model.errors.fields.shape == (len(model.errors.time), 1, 1, 3, 8)
    at = model.errors.time[:, 0].long()
    guess = states[at] - model.errors.fields
    inside = model.forecast(torch.stack([states[at - 2, 0], states[at - 1, 0]], dim=1))
    assert float((guess[:, 0] - inside).square().mean()) < 0.1


def test_the_penalty_is_the_smallest_with_which_forecasts_do_not_grow() -> None:
    """Days that grow by 2 % each teach a forecast that does, unless it is drawn to zero."""
    growing = turning(200) * 1.02 ** torch.arange(200.0)[:, None, None, None, None]
    wave = torch.cos(torch.arange(8) * math.pi / 4).expand(3, 8)
    growing += 1.02 ** torch.arange(200.0)[:, None, None, None, None] * 3 * wave
    assert fit(turning(400), ridges=(0.001, 0.5)).ridge == 0.001
    model = fit(growing, ridges=(0.001, 1e4))
    assert model.ridge == 1e4
    assert model._growth() < 1
    with pytest.raises(UserError, match="forecasts of forecasts grow with each of"):
        fit(growing, ridges=(0.001,))


def test_starts_are_states_of_consecutive_days_of_the_season() -> None:
    states = turning(3000)
    model = fit(states)
    found = model.climatological(9000.0, 40.0, 0, 30)
    assert found.shape == (30, 2, 1, 3, 8)
    assert float(found.mean(dim=0).abs().max()) < 1e-5
    # Centred, but otherwise states and the days before them: their correlation is the chain's.
    before, last = found[:, 0].roll(2, dims=-1), found[:, 1]
    assert float((before * last).sum() / (before.norm() * last.norm())) > 0.4


def test_few_errors_are_kept_and_a_short_period_is_refused() -> None:
    assert len(fit(turning(400), archive=50).errors.time) == 50
    with pytest.raises(UserError, match=r"assimilation.member_forecast: one of 5 blocks"):
        fit(turning(60))
