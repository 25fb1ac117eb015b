"""Separate scores of each day of a window, since some days may be observed and others not.

`days`: the columns of `results`, with `day` (0 for the first of the window) and `observed`, True
if anything is observed on that day in any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from slams.fields import Batch, Ensemble, FieldSpec
from slams.metrics.bootstrap import Resamples, resampled_scores
from slams.metrics.records import MethodRecord
from slams.metrics.scores import level_groups, mean_over_levels, score
from slams.metrics.statistics import case_statistics

__all__ = ["DayRecords"]

_METRICS = ("rmse", "crps", "spread_skill")
_COLUMNS = ("method", "setting", "day", "observed", "variable", "level", "metric")


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
        self._records: dict[tuple[str, int], list[MethodRecord]] = {}
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
            self._records.setdefault((name, day), []).append(record)
            seen = any(bool(o.mask[:, day].any()) for o in batch.observations)
            self._observed[day] = self._observed.get(day, False) or seen

    def to_plain(self) -> dict[str, Any]:
        """Return the statistics as tensors in plain containers, for a file."""
        records = {key: [r.to_plain() for r in parts] for key, parts in self._records.items()}
        return {"records": records, "observed": dict(self._observed)}

    def restore(self, plain: dict[str, Any]) -> None:
        """Restore the statistics from the result of `to_plain`."""
        self._records = {
            key: [MethodRecord.from_plain(one) for one in parts]
            for key, parts in plain["records"].items()
        }
        self._observed = dict(plain["observed"])

    @classmethod
    def merge(cls, parts: Sequence[DayRecords]) -> DayRecords:
        """Merge the statistics of several ranks."""
        merged = cls(parts[0].channels, parts[0].weights, parts[0].seed)
        for part in parts:
            for key, records in part._records.items():
                merged._records.setdefault(key, []).extend(records)
            for day, seen in part._observed.items():
                merged._observed[day] = merged._observed.get(day, False) or seen
        return merged

    def table(self, setting: str, block: int, samples: int) -> pd.DataFrame:
        """Return the table `days`.

        Args:
            setting: Name of the setting.
            block: Dates per block of the bootstrap.
            samples: Resamples of the bootstrap.
        """
        rows = []
        groups = level_groups(self.channels)
        for (method, day), parts in self._records.items():
            record = MethodRecord.merge(parts)
            resamples = Resamples(record.time, block, samples, self.seed)
            means = {n: s.nanmean(dim=0) for n, s in record.statistics.items()}
            valid = record.statistics["mse"].isfinite()
            for metric in _METRICS:
                value = score(metric, means, record.members, record.centred)
                resampled = resampled_scores(
                    metric, record.statistics, record.members, resamples, record.centred
                )
                key = (method, setting, day, self._observed[day])
                for where, index in _places(self.channels, groups).items():
                    if n := int(valid[:, index].any(dim=1).sum()):
                        low, high = resamples.interval(mean_over_levels(resampled, index))
                        found = float(mean_over_levels(value, index)), float(low), float(high)
                        rows.append((*key, *where, metric, *found, n, record.estimator))
        columns = [*_COLUMNS, "value", "lower", "upper", "n", "estimator"]
        return pd.DataFrame(rows, columns=columns)


def _places(
    channels: Sequence[FieldSpec], groups: Mapping[str, list[int]]
) -> dict[tuple[str, str], list[int]]:
    """Return (variable, level) of each channel and of the mean over levels of each variable."""
    single = {
        (c.variable, "surface" if c.level is None else str(c.level)): [i]
        for i, c in enumerate(channels)
    }
    return {**single, **{(variable, "mean"): index for variable, index in groups.items()}}
