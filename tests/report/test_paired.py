"""Paired comparisons and their wording, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from slams.report.formatting import change, joined, number
from slams.report.paired import Comparison, Sampling, by_date, compare, estimate

SAMPLING = Sampling(block=2, samples=400, seed=3)


def table(values: np.ndarray) -> pd.DataFrame:
    dates = pd.date_range("2000-01-01", periods=len(values)).strftime("%Y-%m-%d")
    return pd.DataFrame(values, index=dates, columns=["850", "500"])


def test_a_constant_ratio_has_no_interval_to_speak_of() -> None:
    other = table(np.random.default_rng(0).uniform(1, 4, (12, 2)))
    comparison = compare(0.64 * other, other, "rmse", SAMPLING)
    assert comparison.relative == pytest.approx(-0.2)
    assert (comparison.lower, comparison.upper) == pytest.approx((-0.2, -0.2))
    assert (comparison.better, comparison.dates) == (12, 12)
    assert compare(0.64 * other, other, "crps", SAMPLING).relative == pytest.approx(-0.36)


def test_cycles_are_drawn_as_wholes() -> None:
    """Two cycles, one where the first method is better by 10 %, one where it is by 30 %."""
    dates = [f"1984-0{month}-{day:02d}" for month in (1, 6) for day in range(1, 11)]
    other = pd.DataFrame({"850": np.full(20, 4.0)}, index=dates)
    this = other * np.repeat([0.9, 0.7], 10)[:, None] ** 2
    sampling = Sampling.of(
        {"assimilation": {"cycle_starts": ["1984-06-01", "1984-01-01"], "bootstrap_block": 2}}
    )
    found = compare(this, other, "rmse", sampling)
    assert found.bounds == pytest.approx((-0.3, -0.1))
    assert estimate(this, "rmse", sampling).bounds == pytest.approx((1.4, 1.8))
    # In blocks of two days the same errors count as ten times as many.
    narrow = compare(this, other, "rmse", SAMPLING)
    assert narrow.upper - narrow.lower < 0.15


def test_the_mean_over_levels_is_the_mean_of_their_rmse() -> None:
    this, other = table(np.array([[1.0, 9.0]] * 4)), table(np.array([[4.0, 16.0]] * 4))
    assert compare(this, other, "rmse", SAMPLING).relative == pytest.approx((2 - 3) / 3)
    assert estimate(other, "rmse", SAMPLING).value == pytest.approx(3.0)
    assert estimate(other, "crps", SAMPLING).value == pytest.approx(10.0)


def test_the_root_is_taken_after_the_mean_over_dates() -> None:
    assert estimate(table(np.array([[0.0, 0.0], [2.0, 2.0]])), "rmse", SAMPLING).value == 1.0


def test_only_dates_and_levels_of_both_count() -> None:
    this, other = table(np.full((6, 2), 1.0)), table(np.full((6, 2), 4.0))
    this.iloc[0, 0] = np.nan
    comparison = compare(this, other.iloc[:4], "rmse", SAMPLING)
    assert (comparison.dates, comparison.relative) == (3, -0.5)
    assert compare(this.iloc[:1], other, "rmse", SAMPLING) is None


def test_cases_are_arranged_by_date_and_level() -> None:
    cases = pd.DataFrame(
        {
            "method": ["a", "a", "a", "b"],
            "case": [0, 1, 2, 0],
            "date": ["2000-01-02", "2000-01-01", "2000-01-01", "2000-01-02"],
            "variable": "temperature",
            "level": "850",
            "statistic": "mse",
            "value": [1.0, 2.0, 4.0, 9.0],
        }
    )
    arranged = by_date(cases, "a", "rmse")
    assert list(arranged.index) == ["2000-01-01", "2000-01-02"]
    assert arranged["850"].tolist() == [3.0, 1.0]


def test_wording_keeps_the_sign_and_admits_a_tie() -> None:
    below = change("The RMSE of x", Comparison(-0.22, -0.24, -0.2, 23, 24), "that of y")
    assert below == (
        "The RMSE of x is 22 % below that of y (95 % interval 20 to 24 %), smaller on 23 of 24 "
        "dates."
    )
    above = change("The RMSE of x", Comparison(0.031, 0.026, 0.035, 2, 24), "that of y")
    assert "is 3.1 % above that of y (95 % interval 2.6 to 3.5 %)" in above
    tie = change("The RMSE of x", Comparison(-0.01, -0.03, 0.02, 13, 24), "that of y")
    assert "cannot be distinguished from that of y: −1.0 % (95 % interval −3 to 2 %)" in tie
    few = change("The RMSE of x", Comparison(-0.1, math.nan, math.nan, 2, 2), "that of y")
    assert "10.0 % below that of y (too few dates for an interval)" in few


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (1.4403, (1.39, 1.49), "1.440"),
        (14.26, (12.0, 17.0), "14.3"),
        (-0.0001, (-0.2, 0.2), "0.00"),
        (-3.14159, None, "−3.14"),
        (243.8, None, "244"),
        (math.nan, None, "–"),
    ],
)
def test_numbers_have_the_digits_of_their_interval(
    value: float, interval: tuple[float, float] | None, text: str
) -> None:
    assert number(value, interval) == text


def test_words_are_joined_as_in_a_sentence() -> None:
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert joined([]) == ""
