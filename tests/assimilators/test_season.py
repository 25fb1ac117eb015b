from __future__ import annotations

import math

import torch

from slams.assimilators.season import draw_days, season_days, season_weights
from slams.normalisation import DAYS_PER_YEAR

# Three years, the first day a first of January (to within the leap day).
TIME = 10 * DAYS_PER_YEAR + torch.arange(1095, dtype=torch.float64)


def day_of_year(index: torch.Tensor) -> torch.Tensor:
    return (TIME[index] - TIME[0]) % DAYS_PER_YEAR


def test_season_reaches_over_the_turn_of_the_year() -> None:
    date = float(TIME[0]) + 20 * DAYS_PER_YEAR + 5
    found = season_days(TIME, date, 45.0)
    days = day_of_year(found)
    assert bool(((days <= 50) | (days >= DAYS_PER_YEAR + 5 - 45)).all())
    assert 3 * 90 - 3 <= len(found) <= 3 * 91
    assert bool((found[1:] > found[:-1]).all())


def test_few_days_fall_back_on_the_nearest() -> None:
    date = float(TIME[0]) + 20 * DAYS_PER_YEAR + 180
    found = season_days(TIME, date, 1.0, minimum=30)
    assert len(found) == 30
    assert float((day_of_year(found) - 180).abs().max()) < 6
    assert len(season_days(TIME[:12], date, 45.0, minimum=30)) == 12


def test_verifying_weather_is_left_out() -> None:
    date = float(TIME[400])
    found = season_days(TIME, date, 45.0, exclude=10.0)
    assert float((TIME[found] - date).abs().min()) >= 10
    assert 400 - 365 in found.tolist()


def test_draws_are_distinct_and_do_not_depend_on_the_number_of_members() -> None:
    many = draw_days(50, 3, "climatology", 11, 120)
    assert sorted(many[:50].tolist()) == list(range(50))
    assert torch.equal(many[50:100], many[:50])
    assert torch.equal(draw_days(50, 3, "climatology", 11, 7), many[:7])
    assert not torch.equal(draw_days(50, 3, "climatology", 12, 50), many[:50])
    assert not torch.equal(draw_days(50, 4, "climatology", 11, 50), many[:50])


def test_weights_fall_with_the_distance_in_the_day_of_year() -> None:
    date = float(TIME[0]) + 20 * DAYS_PER_YEAR + 5
    weights = season_weights(TIME, date, 30.0)
    assert weights.argmax() in (5, 370, 735, 736)
    near = torch.tensor(
        [5 + 30, 365 + 5 - 30]
    )  # 30 days on either side, over the turn of the year
    torch.testing.assert_close(
        weights[near], torch.full((2,), math.exp(-0.5)).double(), rtol=0.03, atol=0
    )
    assert float(weights.min()) < 1e-6
    assert season_weights(TIME, date, 0.0) is None
