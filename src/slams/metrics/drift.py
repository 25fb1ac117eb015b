r"""The drift of a cycle: the trend of its errors over its days, with an interval.

A straight line is fitted to the daily RMSE and bias after the first days, which still depend on
the start of the cycle. Errors of consecutive days are correlated, so that `n` days count as

    n_e = n (1 - r) / (1 + r),     r the lag-one correlation of the residuals, at least 0,

in the standard error of the slope and in the degrees of freedom of Student's t (Santer et al.
2000, J. Geophys. Res. 105, 7337-7356). A drift is a slope whose interval excludes zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from slams.metrics.bootstrap import student_quantile
from slams.metrics.columns import DRIFT_COLUMNS

__all__ = ["SPIN_UP", "cycle_of", "daily", "day_of_cycle", "drift", "trend"]

# Days after which a cycle no longer depends on its first background.
SPIN_UP = 20


def daily(cases: pd.DataFrame) -> pd.DataFrame:
    """Return RMSE and bias of each day, per level and averaged over levels.

    Args:
        cases: The `cases` table of an evaluation.

    Returns:
        Table with columns method, setting, date, variable, level (also `mean` over levels),
        metric, value.
    """
    rows = cases[cases["statistic"].isin(("mse", "bias"))].copy()
    root = rows["statistic"] == "mse"
    rows.loc[root, "value"] = np.sqrt(rows.loc[root, "value"])
    rows["metric"] = np.where(root, "rmse", "bias")
    columns = ["method", "setting", "date", "variable", "level", "metric", "value"]
    rows = rows[columns]
    on_levels = rows[rows["level"] != "surface"]
    keys = [c for c in columns if c not in ("level", "value")]
    over = on_levels.groupby(keys, sort=False)["value"].mean().reset_index()
    return pd.concat([rows, over.assign(level="mean")[columns]], ignore_index=True)


def cycle_of(dates: pd.Series, starts: Sequence[str] = ()) -> pd.Series:
    """Return the first day of the cycle that each date belongs to.

    Args:
        dates: ISO dates.
        starts: First day of each cycle, ISO dates; empty for one cycle from the first date.
    """
    first = np.array(sorted(starts) or [dates.min()])
    place = np.searchsorted(first, dates.to_numpy(str), side="right") - 1
    return pd.Series(first[np.maximum(place, 0)], index=dates.index, dtype=object)


def day_of_cycle(dates: pd.Series, cycles: pd.Series) -> pd.Series:
    """Return the number of each date's day in its cycle, from 0 on."""
    # Some dates may have an hour.
    days = (pd.to_datetime(one, format="ISO8601") for one in (dates, cycles))
    return next(days).sub(next(days)).dt.days


def drift(cases: pd.DataFrame, starts: Sequence[str] = (), spin_up: int = SPIN_UP) -> pd.DataFrame:
    """Fit the trends of all methods, variables and levels, cycle by cycle.

    Args:
        cases: The `cases` table of a cycled evaluation.
        starts: First day of each cycle, see `cycle_of`.
        spin_up: Days excluded at the beginning, or 0 if fewer than ten days would remain.

    Returns:
        Table with columns method, setting, cycle (its first day), variable, level, metric (`rmse`
        or `bias`), mean and largest absolute value over the days, slope per day with the bounds
        of its 95 % interval, number of days.
    """
    found = []
    days = daily(cases)
    days["cycle"] = cycle_of(days["date"], starts)
    # Values are equally spaced: steps of one length.
    dates = pd.Series(days["date"].unique(), dtype=object)
    per_day = int(dates.str[:10].value_counts().max()) if len(dates) else 1
    for key, rows in days.groupby(
        ["method", "setting", "cycle", "variable", "level", "metric"], sort=False
    ):
        rows = rows.sort_values("date")
        values = rows["value"].to_numpy(float)
        later = day_of_cycle(rows["date"], rows["cycle"]).to_numpy() >= spin_up
        values = values[later] if later.sum() >= 10 else values
        slope, lower, upper = (per_day * one for one in trend(values))
        mean, largest = float(values.mean()), float(np.abs(values).max())
        found.append((*key, mean, largest, slope, lower, upper, len(values)))
    return pd.DataFrame(found, columns=DRIFT_COLUMNS)


def trend(values: np.ndarray) -> tuple[float, float, float]:
    """Fit a line through equally spaced values.

    Args:
        values: `(n,)`.

    Returns:
        Slope per step and the bounds of its 95 % interval, which is infinite if there are too few
        values or they are too strongly correlated.
    """
    n = len(values)
    if n < 2:
        return math.nan, -math.inf, math.inf
    step = np.arange(n) - (n - 1) / 2
    square = float((step**2).sum())
    slope = float((step * values).sum() / square)
    residual = values - values.mean() - slope * step
    total = float((residual**2).sum())
    if total <= 1e-24 * max(1.0, float((values**2).sum())):
        return slope, slope, slope
    r = max(0.0, float((residual[1:] * residual[:-1]).sum()) / total)
    count = n * (1 - r) / (1 + r)
    if count < 5:
        return slope, -math.inf, math.inf
    error = math.sqrt(total / (count - 2) / square)
    half = student_quantile(count - 2) * error
    return slope, slope - half, slope + half
