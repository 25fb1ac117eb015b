"""The one rule for what tables set in bold: the best of several methods by one metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slams.report.formatting import number
from slams.report.labels import METRICS
from slams.report.reading import Estimate

__all__ = ["best"]

# The best possible value per metric. Of other metrics (counts, seconds) nothing is the best.
_PERFECT = {
    **{name: metric.perfect or 0.0 for name, metric in METRICS.items()},
    "rank_chi2": 0.0,
    "wasserstein": 0.0,
}


def best(metric: str, estimates: Sequence[Estimate | None]) -> list[bool]:
    """Return which estimates are the best: those nearest to the metric's best possible value.

    That value is 1 for spread / skill and 0 for errors, biases and distances. Estimates tie where
    they differ in no digit that the table shows of the best one. Whether the difference is
    significant is not asked.

    Args:
        metric: Name of the metric; of one without a best possible value nothing is marked.
        estimates: One per method; `None` where a method has none.

    Returns:
        One per estimate; all False where fewer than two are known.
    """
    perfect = _PERFECT.get(metric, math.nan)
    known = {
        place: (abs(estimate.value - perfect), estimate)
        for place, estimate in enumerate(estimates)
        if estimate is not None and math.isfinite(estimate.value - perfect)
    }
    if len(known) < 2:
        return [False] * len(estimates)
    least, winner = min(known.values(), key=lambda pair: pair[0])
    decimals = len(number(winner.value, winner.bounds).partition(".")[2])
    shown = round(least, decimals)
    ties = {place for place, (d, _) in known.items() if round(d, decimals) == shown}
    return [place in ties for place in range(len(estimates))]
