"""Paired comparisons of two methods, or two settings, on the same dates.

Two analyses of one date share its weather, so that their difference is known far better than
either of them. The interval of the relative difference comes from a circular block bootstrap
over dates (Politis and Romano 1992): blocks of consecutive dates are drawn for both at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Comparison", "by_date", "compare"]

# The per-case statistic behind a metric, and the function of its mean over dates.
_STATISTICS = {"rmse": ("mse", np.sqrt), "crps": ("crps", lambda mean: mean)}


@dataclass(frozen=True)
class Comparison:
    """Holds how much one method differs from another, as a share of the other.

    Attributes:
        relative: (this - other) / other; negative means smaller errors.
        lower: Lower bound of the 95 % interval.
        upper: Upper bound of the 95 % interval.
        better: Number of dates on which this one has the smaller error.
        dates: Number of dates compared.
    """

    relative: float
    lower: float
    upper: float
    better: int
    dates: int


def by_date(
    cases: pd.DataFrame, method: str, metric: str, variable: str = "temperature"
) -> pd.DataFrame:
    """Arranges a metric's statistic by date (rows) and level (columns).

    Rows of level `mean` are used alone where they exist; otherwise every level is a column and
    the metric is averaged over them.

    Raises:
        KeyError: The metric is neither `rmse` nor `crps`.
    """
    statistic, _ = _STATISTICS[metric]
    rows = cases[
        (cases["method"] == method)
        & (cases["statistic"] == statistic)
        & (cases["variable"] == variable)
    ]
    if (rows["level"] == "mean").any():
        rows = rows[rows["level"] == "mean"]
    table = rows.pivot_table(index="date", columns="level", values="value", aggfunc="mean")
    return table.sort_index()


def compare(
    this: pd.DataFrame,
    other: pd.DataFrame,
    metric: str,
    block: int = 3,
    samples: int = 1000,
    seed: int = 0,
) -> Comparison | None:
    """Compares two tables of `by_date` on the dates and levels that both have.

    Args:
        this: `(dates, levels)` statistics of the method in question.
        other: The same of the method compared with.
        metric: `rmse` or `crps`.
        block: Consecutive dates in a block.
        samples: Resamples.
        seed: Seed of the resampling.

    Returns:
        The comparison, or `None` where fewer than two dates are common to both.
    """
    dates = this.index.intersection(other.index)
    levels = this.columns.intersection(other.columns)
    if len(dates) < 2 or len(levels) == 0:
        return None
    a = this.loc[dates, levels].to_numpy(float)
    b = other.loc[dates, levels].to_numpy(float)
    known = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    a, b = a[known], b[known]
    count = len(a)
    if count < 2:
        return None
    _, function = _STATISTICS[metric]

    def relative(index: np.ndarray) -> np.ndarray:
        this_value = function(a[index].mean(axis=-2)).mean(axis=-1)
        other_value = function(b[index].mean(axis=-2)).mean(axis=-1)
        return (this_value - other_value) / other_value

    length = max(1, min(block, count))
    starts = np.random.default_rng(seed).integers(count, size=(samples, -(-count // length)))
    index = (starts[..., None] + np.arange(length)) % count
    resampled = relative(index.reshape(samples, -1)[:, :count])
    lower, upper = np.quantile(resampled, [0.025, 0.975])
    return Comparison(
        relative=float(relative(np.arange(count))),
        lower=float(lower),
        upper=float(upper),
        better=int((function(a).mean(axis=1) < function(b).mean(axis=1)).sum()),
        dates=count,
    )
