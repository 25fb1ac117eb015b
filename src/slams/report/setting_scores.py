"""Scores of one setting of the observations, on a choice of dates."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from slams.report.paired import Sampling, by_date, estimate, estimates
from slams.report.reading import AssimilationRun, Estimate, lookup, profile

__all__ = ["SettingScores"]


@dataclass(frozen=True)
class SettingScores:
    """Scores of temperature of one setting on a choice of dates.

    Attributes:
        run: The assimilation run.
        label: What was observed, in words.
        dates: Dates to score; `None` for the numbers of the results table.
    """

    run: AssimilationRun
    label: str
    dates: pd.Index | None = None

    def overall(self, method: str, metric: str) -> Estimate | None:
        """Return a metric, mean over levels."""
        if self.dates is None:
            return lookup(self.run.results, method, metric)
        chosen = self._chosen(method, metric)
        return None if chosen.empty else estimate(chosen, metric, Sampling.of(self.run))

    def levels(self, method: str, metric: str) -> pd.DataFrame:
        """Return a metric by level: columns pressure (hPa), value, lower, upper."""
        if self.dates is None:
            return profile(self.run.results, method, metric)
        scores = estimates(self._chosen(method, metric), metric, Sampling.of(self.run))
        rows = [
            (float(level), score.value, score.lower, score.upper)
            for level, score in scores.items()
            if level.isdigit()
        ]
        frame = pd.DataFrame(rows, columns=["pressure", "value", "lower", "upper"])
        return frame.sort_values("pressure", ascending=False)

    def _chosen(self, method: str, metric: str) -> pd.DataFrame:
        scored = by_date(self.run.cases, method, metric)
        return scored.loc[scored.index.intersection(self.dates)]
