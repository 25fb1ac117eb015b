"""Rows of scores with their intervals, for the globe and per region.

`regions`: method, setting, region, variable, level, metric, value, lower, upper, n, estimator;
rows as in `results` (`slams.metrics.columns`), for the regions of `slams.metrics.regions`, which
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
from slams.metrics.scores import SCORES, mean_over_levels, places, score
from slams.metrics.statistics import REGIONAL

__all__ = ["interval_rows", "regional_rows"]

_METRICS = tuple(m for m, needed in SCORES.items() if set(needed) <= set(REGIONAL))


def interval_rows(
    metric: str,
    value: Tensor,
    resampled: Tensor,
    known: Tensor,
    channels: Sequence[FieldSpec],
    resamples: Resamples,
) -> Iterator[tuple[Any, ...]]:
    """Return the rows of one metric, starting with the column variable, ending with n.

    Args:
        metric: Name of the metric.
        value: `(C,)` the metric.
        resampled: `(S, C)` the metric in every resample.
        known: `(N, C)` bool, the cases with a truth; channels without any have no row.
        channels: The `C` channels.
        resamples: The resamples of the cases.
    """
    for place, index in places(channels).items():
        if n := int(known[:, index].any(dim=1).sum()):
            bounds = resamples.interval(mean_over_levels(resampled, index))
            numbers = torch.stack([mean_over_levels(value, index), *bounds]).tolist()
            yield *place, metric, *numbers, n


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
    for metric in _METRICS:
        value = score(metric, means, record.members, record.centred)
        resampled = score(metric, drawn, record.members, record.centred)
        for r, region in enumerate(REGIONS):
            for row in interval_rows(
                metric, value[r], resampled[:, r], known[..., r], channels, resamples
            ):
                yield region, *row
