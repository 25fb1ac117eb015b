"""Paired comparisons of two methods, or two settings, on the same dates.

Two analyses of one date share its weather, so that their difference is known far better than
either of them. The interval of the relative difference comes from the block bootstrap of
`slams.metrics.bootstrap`, the same blocks of dates drawn for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from slams.metrics.bootstrap import Resamples, resample_dates
from slams.report.reading import Estimate, config_value

__all__ = [
    "Comparison",
    "Sampling",
    "by_date",
    "compare",
    "error_by_level",
    "estimate",
]

# The statistic per case behind a metric, and whether the root of its mean over dates is taken.
_STATISTICS = {"rmse": ("mse", True), "crps": ("crps", False)}


@dataclass(frozen=True)
class Comparison:
    """Difference of one method from another, relative to the other.

    Attributes:
        relative: (this - other) / other; negative means smaller errors.
        lower: Lower bound of the 95 % interval.
        upper: Upper bound of the 95 % interval.
        better: Number of dates on which this method has the smaller error.
        dates: Number of dates compared.
    """

    relative: float
    lower: float
    upper: float
    better: int
    dates: int

    @property
    def bounds(self) -> tuple[float, float]:
        """Return both bounds of the interval."""
        return self.lower, self.upper

    def verdict(self, below: str, above: str, unknown: str) -> str:
        """Return the word for the side of zero that the interval is on.

        Args:
            below: Word where the whole interval is negative.
            above: Word where it is positive.
            unknown: Word where there is no interval.
        """
        if not self.lower <= self.upper:
            return unknown
        if self.upper < 0:
            return below
        return above if self.lower > 0 else "not told apart"


@dataclass(frozen=True)
class Sampling:
    """How intervals are drawn, as in the evaluation.

    Attributes:
        block: Consecutive dates in a block.
        samples: Resamples.
        seed: The experiment's seed.
        starts: First day of each cycle, ISO dates in order; empty where there is at most one.
    """

    block: int = 3
    samples: int = 1000
    seed: int = 0
    starts: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Sampling:
        """Return the settings of a recipe, or the defaults where it has none."""
        return cls(
            int(config_value(config, "assimilation.bootstrap_block", cls.block)),
            int(config_value(config, "assimilation.bootstrap_samples", cls.samples)),
            int(config_value(config, "seed", cls.seed)),
            tuple(sorted(config_value(config, "assimilation.cycle_starts", cls.starts))),
        )

    def resamples(self, dates: pd.Index) -> Resamples:
        """Draw resamples of dates in order, ISO text."""
        if len(self.starts) < 2:
            return Resamples(torch.arange(len(dates)), self.block, self.samples, self.seed)
        days, starts = (_days(some) for some in (dates, self.starts))
        return resample_dates(days, self.block, self.samples, self.seed, starts.tolist())


def by_date(
    cases: pd.DataFrame, method: str, metric: str, variable: str = "temperature"
) -> pd.DataFrame:
    """Arrange a metric's statistic by date (rows) and level (columns).

    Raises:
        KeyError: The metric is neither `rmse` nor `crps`.
    """
    statistic, _ = _STATISTICS[metric]
    rows = cases[
        (cases["method"] == method)
        & (cases["statistic"] == statistic)
        & (cases["variable"] == variable)
        & (cases["level"] != "mean")
    ]
    return rows.pivot_table(index="date", columns="level", values="value", aggfunc="mean")


def error_by_level(mean: Tensor, metric: str) -> Tensor:
    """Convert mean statistics `(..., L)` to the metric, averaged over levels: `(...)`."""
    _, root = _STATISTICS[metric]
    return (mean.sqrt() if root else mean).mean(dim=-1)


def compare(
    this: pd.DataFrame,
    other: pd.DataFrame,
    metric: str,
    sampling: Sampling,
    relative_to: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> Comparison | None:
    """Compare two tables of `by_date` on the dates and levels that all tables have.

    Args:
        this: `(dates, levels)` statistics of the first method.
        other: The same for the method it is compared with.
        metric: `rmse` or `crps`.
        sampling: How the interval is drawn.
        relative_to: Tables of both methods in another setting; their growth from it is compared
            instead of their errors.

    Returns:
        The comparison, or `None` where fewer than two dates are common to all.
    """
    tables = [this, other, *(relative_to or ())]
    dates = reduce(pd.Index.intersection, (table.index for table in tables)).sort_values()
    levels = reduce(pd.Index.intersection, (table.columns for table in tables))
    values = torch.stack([torch.tensor(t.loc[dates, levels].to_numpy(float)) for t in tables])
    complete = values.isfinite().all(dim=2).all(dim=0)
    values, dates = values[:, complete], dates[complete.numpy()]
    count = values.shape[1]
    if count < 2 or len(levels) == 0:
        return None

    def errors(means: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        a, b, *first = (error_by_level(mean, metric) for mean in means)
        return (a / first[0], b / first[1]) if first else (a, b)

    def ratio(means: Iterable[Tensor]) -> Tensor:
        a, b = errors(means)
        return a / b

    resamples = sampling.resamples(dates)
    lower, upper = resamples.interval(ratio([resamples.means(one) for one in values]))
    a, b = errors(values)
    return Comparison(
        relative=float(ratio([one.mean(dim=0) for one in values])) - 1,
        lower=float(lower) - 1,
        upper=float(upper) - 1,
        better=int((a < b).sum()),
        dates=count,
    )


def estimate(table: pd.DataFrame, metric: str, sampling: Sampling) -> Estimate:
    """Score a table of `by_date`, mean over levels, with its interval."""
    values = torch.tensor(table.to_numpy(float))
    resamples = sampling.resamples(table.index)
    lower, upper = resamples.interval(error_by_level(resamples.means(values), metric))
    value = error_by_level(values.nanmean(dim=0), metric)
    return Estimate(float(value), float(lower), float(upper), len(values))


def _days(dates: Iterable[str]) -> Tensor:
    """Return ISO dates, some with an hour, as days since 1970-01-01, float64."""
    return torch.from_numpy(np.array(list(dates), "datetime64[s]").astype(np.float64) / 86400)
