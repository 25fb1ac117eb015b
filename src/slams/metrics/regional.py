"""The table of regions: the metrics of `results` per region.

`regions`: method, setting, region, variable, level, metric, value, lower, upper, n, estimator;
rows as in `results` (`slams.metrics.tables`), for the regions of `slams.metrics.regions`, which
include the globe. The intervals are computed from the same resamples of dates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from slams.fields import FieldSpec
from slams.metrics.bootstrap import Resamples
from slams.metrics.records import MethodRecord
from slams.metrics.regions import REGIONS
from slams.metrics.scores import SCORES, level_groups, mean_over_levels, score
from slams.metrics.statistics import REGIONAL

__all__ = ["regional_rows"]

_METRICS = tuple(m for m, needed in SCORES.items() if set(needed) <= set(REGIONAL))


def regional_rows(
    record: MethodRecord, channels: Sequence[FieldSpec], resamples: Resamples
) -> Iterator[tuple[Any, ...]]:
    """Return the rows of one method, starting with the column region.

    Args:
        record: The method's per-case results, merged over ranks.
        channels: The `C` channels.
        resamples: The resamples of the cases.
    """
    statistics = {name: record.statistics[key] for name, key in REGIONAL.items()}
    known = statistics["mse"].isfinite()
    means = {name: values.nanmean(dim=0).mT for name, values in statistics.items()}
    drawn = {name: resamples.means(values).mT for name, values in statistics.items()}
    groups = level_groups(channels)
    for metric in _METRICS:
        value = score(metric, means, record.members, record.centred)
        resampled = score(metric, drawn, record.members, record.centred)
        lower, upper = resamples.interval(resampled)
        for r, region in enumerate(REGIONS):
            for c, spec in enumerate(channels):
                if n := int(known[:, c, r].sum()):
                    level = "surface" if spec.level is None else str(spec.level)
                    numbers = _numbers(value[r, c], lower[r, c], upper[r, c])
                    yield region, spec.variable, level, metric, *numbers, n
            for variable, index in groups.items():
                if n := int(known[:, index, r].any(dim=1).sum()):
                    bounds = resamples.interval(mean_over_levels(resampled[:, r], index))
                    numbers = _numbers(mean_over_levels(value[r], index), *bounds)
                    yield region, variable, "mean", metric, *numbers, n


def _numbers(*values: Tensor) -> list[float]:
    return torch.stack(values).tolist()
