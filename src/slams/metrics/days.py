"""Separate scores of each day of a window, since some days may be observed and others not.

`days`: the columns of `results`, with `day` (0 for the first of the window) and `observed`, True
if anything is observed on that day in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from slams.fields import Batch, Ensemble, FieldSpec
from slams.metrics.bootstrap import Resamples, resampled_scores
from slams.metrics.columns import DAY_COLUMNS
from slams.metrics.records import MethodRecord, Records
from slams.metrics.score_rows import interval_rows
from slams.metrics.scores import score
from slams.metrics.statistics import case_statistics

__all__ = ["DayRecords"]

_METRICS = ("rmse", "crps", "spread_skill")


class DayRecords:
    """Statistics of single days; empty for windows of one day.

    Args:
        channels: The `C` channels.
        weights: `(H,)` cell areas.
        seed: The experiment's seed, for rank ties.
    """

    def __init__(self, channels: Sequence[FieldSpec], weights: Tensor, seed: int) -> None:
        self.channels = tuple(channels)
        self.weights = weights
        self.seed = seed
        self._records = Records()
        self._observed: dict[int, bool] = {}

    def add(self, name: str, ensemble: Ensemble, truth: Tensor, batch: Batch) -> None:
        """Score each day of a batch.

        Args:
            name: The method.
            ensemble: Members `(B, M, T, C, H, W)` physical.
            truth: `(B, T, C, H, W)` physical.
            batch: The batch.
        """
        days = truth.shape[1]
        for day in range(days if days > 1 else 0):
            one = slice(day, day + 1)
            statistics = case_statistics(
                ensemble.members[:, :, one],
                truth[:, one],
                batch.mask[:, one],
                self.weights,
                batch.case,
                self.channels,
                self.seed,
                centred=ensemble.centred,
            )
            record = MethodRecord.of_batch(
                statistics,
                batch.time[:, day],
                0.0,
                torch.zeros(0, dtype=torch.int64),
                [{}] * len(batch),
            )
            self._records.add((name, day), record)
            self._note(day, any(bool(o.mask[:, day].any()) for o in batch.observations))

    def to_plain(self) -> dict[str, Any]:
        """Return the statistics as tensors in plain containers, for a file."""
        return {"records": self._records.to_plain(), "observed": dict(self._observed)}

    def restore(self, plain: dict[str, Any]) -> None:
        """Restore the statistics from the result of `to_plain`."""
        self._records.restore(plain["records"])
        self._observed = dict(plain["observed"])

    @classmethod
    def merge(cls, parts: Sequence[DayRecords]) -> DayRecords:
        """Merge the statistics of several ranks."""
        merged = cls(parts[0].channels, parts[0].weights, parts[0].seed)
        merged._records = Records.merge([part._records for part in parts])
        for part in parts:
            for day, seen in part._observed.items():
                merged._note(day, seen)
        return merged

    def table(self, setting: str, block: int, samples: int) -> pd.DataFrame:
        """Return the table `days`.

        Args:
            setting: Name of the setting.
            block: Dates per block of the bootstrap.
            samples: Resamples of the bootstrap.
        """
        rows = []
        for (method, day), record in self._records.merged().items():
            resamples = Resamples(record.time, block, samples, self.seed)
            means = {n: s.nanmean(dim=0) for n, s in record.statistics.items()}
            known = record.statistics["mse"].isfinite()
            for metric in _METRICS:
                value = score(metric, means, record.members, record.centred)
                resampled = resampled_scores(
                    metric, record.statistics, record.members, resamples, record.centred
                )
                for row in interval_rows(
                    metric, value, resampled, known, self.channels, resamples
                ):
                    key = (method, setting, day, self._observed[day])
                    rows.append((*key, *row, record.estimator))
        return pd.DataFrame(rows, columns=DAY_COLUMNS)

    def _note(self, day: int, seen: bool) -> None:
        """Record whether anything is observed on a day of the window."""
        self._observed[day] = self._observed.get(day, False) or seen
