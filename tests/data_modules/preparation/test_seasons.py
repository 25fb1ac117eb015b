"""Annual harmonics need training days of the whole year; one without seasons does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data_modules.preparation.plan import plan
from data_modules.preparation.seasons import LONGEST_GAP, check_seasons
from slams.errors import UserError
from slams.normalisation import harmonic_basis
from tests.synthetic import tiny_recipe


def days(first: str, last: str) -> np.ndarray:
    """Return the days from the first to the last, since 1970-01-01."""
    return np.arange(*(np.datetime64(d, "D").astype(int) for d in (first, last))).astype(float)


def test_a_part_of_the_year_is_refused_with_the_part_that_is_missing() -> None:
    train = days("1981-01-01", "1981-10-01")
    with pytest.raises(UserError, match="92 days of the calendar year") as refused:
        check_seasons(train, 3)
    text = str(refused.value)
    assert "10-01 to 12-31" in text
    assert all(word in text for word in ("data.splits.train", "statistics_from", "harmonics to 0"))
    check_seasons(train, 0)


def test_a_season_missing_in_every_year_is_refused() -> None:
    summers = np.concatenate([days(f"{y}-04-01", f"{y}-10-01") for y in range(1980, 1990)])
    with pytest.raises(UserError, match=r"18[12] days of the calendar year"):
        check_seasons(summers, 1)
    winters = days("1979-10-01", "1980-04-01")
    check_seasons(np.sort(np.concatenate([winters, summers])), 1)


@pytest.mark.parametrize(("missing", "taken"), [(LONGEST_GAP, True), (LONGEST_GAP + 1, False)])
def test_a_month_is_bridged_and_no_more(missing, taken) -> None:
    year = np.arange(4000.0, 4000.0 + 365 - missing)
    if taken:
        check_seasons(year, 3)
    else:
        with pytest.raises(UserError, match=f"{missing} days"):
            check_seasons(year, 3)


def test_harmonics_of_a_part_are_wrong_elsewhere_by_more_than_the_weather() -> None:
    """The reason for the refusal: 20 K of error seven weeks after nine months of training."""
    rng = np.random.default_rng(0)
    t = np.arange(365.0)
    weather = np.zeros(365)
    for day in range(1, 365):
        weather[day] = 0.82 * weather[day - 1] + 2.3 * rng.standard_normal()
    field = 280 - 10 * np.cos(2 * np.pi * t / 365.2425) + weather
    basis = harmonic_basis(torch.from_numpy(t), 3).numpy()

    def error(train: np.ndarray) -> float:
        fitted = basis @ np.linalg.lstsq(basis[train], field[train], rcond=None)[0]
        truth = 280 - 10 * np.cos(2 * np.pi * t / 365.2425)
        return float(np.abs(fitted - truth)[280:330].max())

    assert error(np.arange(365)) < 3
    assert error(np.arange(230)) > 15


def test_the_plan_of_a_store_refuses_them(tmp_path, tiny_source) -> None:
    recipe = tiny_recipe(tmp_path, tiny_source, harmonics=3)
    with pytest.raises(UserError, match="leave out 295 days of the calendar year"):
        plan(recipe.data)
