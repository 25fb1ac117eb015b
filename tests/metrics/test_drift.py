"""Trends of daily errors: exact for lines, honest about noise that persists."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from slams.metrics.drift import daily, drift, trend


def persistent_noise(n: int, r: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=n)
    for i in range(1, n):
        noise[i] = r * noise[i - 1] + math.sqrt(1 - r**2) * noise[i]
    return noise


def test_a_line_has_its_slope_and_no_doubt() -> None:
    assert trend(3.0 + 0.25 * np.arange(12)) == pytest.approx((0.25, 0.25, 0.25))
    assert trend(np.ones(5)) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("r", [0.0, 0.5])
def test_the_interval_covers_the_slope_as_often_as_it_says(r: float) -> None:
    """Short series underestimate their persistence: with r = 0.5 some of the 95 % is lost."""
    rng = np.random.default_rng(0)
    inside, naive = 0, 0
    for _ in range(400):
        slope, lower, upper = trend(0.01 * np.arange(40) + persistent_noise(40, r, rng))
        inside += lower <= 0.01 <= upper
        naive += abs(slope - 0.01) <= 1.96 / math.sqrt(40 * (40**2 - 1) / 12)
    assert 0.88 < inside / 400 < 0.98
    if r:  # what a fit that ignores persistence would claim
        assert naive / 400 < 0.85


def test_series_that_cannot_tell_say_so() -> None:
    assert trend(np.array([1.0])) == pytest.approx((math.nan, -math.inf, math.inf), nan_ok=True)
    _, lower, upper = trend(np.array([1.0, 2.0, 1.5, 3.0]))
    assert (lower, upper) == (-math.inf, math.inf)


def table(errors: dict[str, np.ndarray]) -> pd.DataFrame:
    """Make a table of cases: mean squared errors of two levels, and their bias."""
    rows = []
    for method, values in errors.items():
        for day, value in enumerate(values):
            for level, factor in (("850", 1.0), ("500", 3.0)):
                date = str(np.datetime64("1984-01-01") + day)
                key = (method, "default", day, date, "temperature", level)
                rows.append((*key, "mse", (factor * value) ** 2))
                rows.append((*key, "bias", -factor))
    columns = ["method", "setting", "case", "date", "variable", "level", "statistic", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_a_method_that_drifts_is_told_from_one_that_does_not() -> None:
    rng = np.random.default_rng(1)
    steady = 1.5 + 0.05 * rng.normal(size=60)
    found = drift(table({"steady": steady, "drifting": steady + 0.01 * np.arange(60)}))
    found = found[(found["level"] == "mean") & (found["metric"] == "rmse")].set_index("method")
    assert found.loc["steady", "lower"] < 0 < found.loc["steady", "upper"]
    assert found.loc["drifting", "lower"] > 0.01
    assert found.loc["drifting", "slope"] == pytest.approx(0.02, abs=0.004)
    assert set(found["n"]) == {40}


def test_means_over_levels_are_means_of_the_levels_errors() -> None:
    rows = daily(table({"one": np.array([1.0, 2.0])}))
    mean = rows[rows["level"] == "mean"].set_index(["metric", "date"])["value"]
    assert mean["rmse"].tolist() == pytest.approx([2.0, 4.0])
    assert mean["bias"].tolist() == pytest.approx([-2.0, -2.0])


def test_the_start_of_a_cycle_is_left_out() -> None:
    errors = np.ones(40)
    errors[:20] = np.linspace(9, 1, 20)
    found = drift(table({"settling": errors}))
    assert found["slope"].abs().max() == pytest.approx(0.0, abs=1e-12)
    assert set(found["n"]) == {20}


def test_each_cycle_has_its_own_trend() -> None:
    errors = np.concatenate([np.linspace(1, 2, 30), np.ones(31)])
    cases = table({"one": errors})
    cases = cases[cases["date"] != "1984-01-31"]
    found = drift(cases, ["1984-02-01", "1984-01-01"])
    rmse = found[(found["level"] == "mean") & (found["metric"] == "rmse")].set_index("cycle")
    assert rmse.loc["1984-01-01", "slope"] == pytest.approx(2 / 29)
    assert rmse.loc["1984-02-01", "slope"] == pytest.approx(0.0, abs=1e-12)
    assert rmse["n"].tolist() == [10, 10]
