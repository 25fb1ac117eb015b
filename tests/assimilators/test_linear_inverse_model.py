"""The linear inverse model against systems whose best linear forecast is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.linear_inverse_model import LinearInverseModel
from slams.errors import UserError
from tests.assimilators.autoregressive import Autoregressive
from tests.assimilators.problems import small_grid

# Variance of x' - 0.64 R^2 x, where x moves on by x' = 0.8 R x + 0.6 noise, R a turn.
BEST = 1 - 0.64**2


def turning(days: int, seed: int = 1) -> Archive:
    """Make days on 4 x 8 points that turn by a quarter of the globe from one to the next.

    The background is the state two days before, half of the globe away from where it is now.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(days + 2, 1, 1, 4, 8, generator=generator)
    series = [noise[0]]
    for step in noise[1:]:
        series.append(0.8 * series[-1].roll(2, dims=-1) + 0.6 * step)
    states = torch.stack(series)
    return Archive(states[2:], states[:-2], torch.arange(days, dtype=torch.float64)[:, None])


def error(truth: Tensor, forecast: Tensor) -> float:
    return float((truth - forecast).square().mean())


def test_approaches_the_best_linear_forecast() -> None:
    archive, new = turning(4000), turning(1000, seed=2)
    model = LinearInverseModel(small_grid(4, 8), gap=5, ridges=(0.001, 0.1))
    model.fit(archive)
    assert error(archive.fields, archive.background) > 1.9
    found = error(new.fields, model.forecast(new.background, new.time))
    assert found == pytest.approx(BEST, rel=0.03)
    # The grid is small: the pattern that forecasts a point is known, 0.64 where it was.
    unit = torch.zeros(1, 1, 1, 4, 8)
    unit[..., 2, 1] = 1.0
    response = model.forecast(unit, new.time[:1])
    torch.testing.assert_close(response, 0.64 * unit.roll(4, dims=-1), rtol=0, atol=0.08)


def test_errors_on_the_archive_are_those_of_days_it_has_not_seen() -> None:
    archive, new = turning(300), turning(2000, seed=2)
    model = LinearInverseModel(small_grid(4, 8), gap=5, ridges=(0.01,))
    model.fit(archive)
    outside = error(new.fields, model.forecast(new.background, new.time))
    inside = error(archive.fields, model.forecast(archive.background, archive.time))
    claimed = error(archive.fields, model.archive.background)
    assert inside < 0.85 * outside
    assert claimed == pytest.approx(outside, rel=0.1)
    assert float(model.variance.mean()) == pytest.approx(claimed, rel=1e-4)


def test_a_block_and_its_neighbours_play_no_part_in_its_forecast() -> None:
    archive = turning(200)
    # Blocks of 50 days; the third is days 100 to 149, and 95 to 154 lie within the gap.
    hidden = archive.fields.clone()
    hidden[95:155] = 1e3
    near = archive.fields.clone()
    near[94] = 1e3
    guesses = [
        LinearInverseModel(small_grid(4, 8), folds=4, gap=5, ridges=(1.0,)).hindcast(
            replace(archive, fields=fields)
        )[100:150]
        for fields in (archive.fields, hidden, near)
    ]
    torch.testing.assert_close(guesses[1], guesses[0], rtol=0, atol=1e-3)
    assert float((guesses[2] - guesses[0]).abs().max()) > 1


def test_tends_to_the_climatology_where_nothing_can_be_predicted() -> None:
    archive = turning(400)
    unrelated = replace(archive, background=turning(400, seed=9).background)
    model = LinearInverseModel(small_grid(4, 8), ridges=(0.1, 1.0, 1e4))
    model.fit(unrelated)
    assert model.ridge.tolist() == [1e4]
    assert float(model.archive.background.square().mean()) < 0.01
    assert float(model.variance.mean()) == pytest.approx(1.0, rel=0.1)


def test_chooses_little_penalty_where_days_are_many() -> None:
    model = LinearInverseModel(small_grid(4, 8), ridges=(0.001, 1.0, 100.0))
    model.fit(turning(2000))
    assert model.ridge.tolist() == pytest.approx([0.001])


def test_keeps_of_the_background_what_few_eofs_do_not_hold() -> None:
    world = Autoregressive(days=1500)  # whose background is the best forecast already
    model = LinearInverseModel(world.grid, eofs=4, ridges=(0.01,))
    model.fit(world.archive)
    assert model.gamma.tolist() == pytest.approx([1.0], abs=0.05)
    assert error(world.archive.fields, model.archive.background) == pytest.approx(BEST, rel=0.03)


def test_backgrounds_without_anomalies_give_the_climatology() -> None:
    archive = turning(60)
    model = LinearInverseModel(small_grid(4, 8))
    model.fit(replace(archive, background=torch.zeros_like(archive.background)))
    assert not bool(model.archive.background.any())
    assert not bool(model.forecast(torch.zeros(1, 1, 1, 4, 8), archive.time[:1]).any())


def test_refuses_an_archive_that_blocks_leave_nothing_of() -> None:
    with pytest.raises(UserError, match=r"leaves 0 windows further than 40 days"):
        LinearInverseModel(small_grid(4, 8), gap=40).fit(turning(40))
