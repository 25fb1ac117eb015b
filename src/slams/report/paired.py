"""Paired comparisons of two methods, or two settings, on the same dates.

Two analyses of one date share its weather, so that their difference is known far better than
either of them. The interval of the relative difference comes from the block bootstrap of
`slams.metrics.bootstrap`, the same blocks of dates drawn for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from slams.metrics.bootstrap import Resamples
from slams.report.reading import AssimilationRun, Estimate, config_value

__all__ = [
    "Comparison",
    "Sampling",
    "by_date",
    "compare",
    "error_by_level",
    "estimate",
    "estimates",
]

# The per-case statistic behind a metric, and whether a root is taken of its mean over dates.
_STATISTICS = {"rmse": ("mse", True), "crps": ("crps", False)}


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


@dataclass(frozen=True)
class Sampling:
    """Says how intervals are drawn, as the recipe does for the evaluation.

    Attributes:
        block: Consecutive dates in a block.
        samples: Resamples.
        seed: The experiment's seed.
    """

    block: int = 3
    samples: int = 1000
    seed: int = 0

    @classmethod
    def of(cls, run: AssimilationRun) -> Sampling:
        """Take the recipe's choices, or the defaults where it is absent."""
        return cls(
            int(config_value(run.config, "assimilation.bootstrap_block", cls.block)),
            int(config_value(run.config, "assimilation.bootstrap_samples", cls.samples)),
            int(config_value(run.config, "seed", cls.seed)),
        )

    def resamples(self, count: int) -> Resamples:
        """Draw the resamples of that many dates in order."""
        return Resamples(torch.arange(count), self.block, self.samples, self.seed)


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
    """Turn mean statistics `(..., L)` into the metric, averaged over levels: `(...)`."""
    _, root = _STATISTICS[metric]
    return (mean.sqrt() if root else mean).mean(dim=-1)


def compare(
    this: pd.DataFrame,
    other: pd.DataFrame,
    metric: str,
    sampling: Sampling,
) -> Comparison | None:
    """Compare two tables of `by_date` on the dates and levels that both have.

    Args:
        this: `(dates, levels)` statistics of the method in question.
        other: The same of the method compared with.
        metric: `rmse` or `crps`.
        sampling: How the interval is drawn.

    Returns:
        The comparison, or `None` where fewer than two dates are common to both.
    """
    dates = this.index.intersection(other.index).sort_values()
    levels = this.columns.intersection(other.columns)
    a = torch.tensor(this.loc[dates, levels].to_numpy(float))
    b = torch.tensor(other.loc[dates, levels].to_numpy(float))
    known = (a.isfinite() & b.isfinite()).all(dim=1)
    a, b = a[known], b[known]
    if len(a) < 2 or len(levels) == 0:
        return None
    resamples = sampling.resamples(len(a))
    resampled = error_by_level(resamples.means(a), metric) / error_by_level(
        resamples.means(b), metric
    )
    lower, upper = resamples.interval(resampled)
    ratio = error_by_level(a.mean(dim=0), metric) / error_by_level(b.mean(dim=0), metric)
    return Comparison(
        relative=float(ratio) - 1,
        lower=float(lower) - 1,
        upper=float(upper) - 1,
        better=int((error_by_level(a, metric) < error_by_level(b, metric)).sum()),
        dates=len(a),
    )


def estimate(table: pd.DataFrame, metric: str, sampling: Sampling) -> Estimate:
    """Score a table of `by_date`, mean over levels, with its interval."""
    values = torch.tensor(table.to_numpy(float))
    resamples = sampling.resamples(len(values))
    lower, upper = resamples.interval(error_by_level(resamples.means(values), metric))
    value = error_by_level(values.nanmean(dim=0), metric)
    return Estimate(float(value), float(lower), float(upper), len(values))


def estimates(table: pd.DataFrame, metric: str, sampling: Sampling) -> dict[str, Estimate]:
    """Score a table of `by_date` level by level."""
    return {level: estimate(table[[level]], metric, sampling) for level in table.columns}
