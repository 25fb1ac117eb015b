"""The results as tables with one value per row.

The columns are described in `slams.metrics.columns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from slams.calendar.days import iso_date
from slams.fields import FieldSpec
from slams.metrics.bootstrap import Resamples, resample_dates
from slams.metrics.columns import TABLE_COLUMNS
from slams.metrics.observed_tables import observation_rows, rank_rows, space_rows
from slams.metrics.records import MethodRecord
from slams.metrics.score_rows import regional_rows, score_rows
from slams.metrics.scores import SCORES, level_name, places
from slams.metrics.spectra import spectra_rows
from slams.metrics.statistics import STATISTICS

__all__ = ["make_tables"]


def make_tables(
    records: Mapping[str, MethodRecord],
    means: Mapping[str, Mapping[str, Tensor]],
    spectra: Mapping[str, tuple[Tensor, Tensor]],
    channels: Sequence[FieldSpec],
    setting: str,
    block: int,
    samples: int,
    seed: int,
    starts: Sequence[float] = (),
) -> dict[str, pd.DataFrame]:
    """Return the tables of an evaluation.

    Args:
        records: Per-case results of each method, merged over ranks.
        means: Mean statistics of each method, `(C, ...)`; values are computed from these,
            intervals from the records.
        spectra: Zonal and spherical power spectra of each method, see `slams.metrics.spectra`.
        channels: The `C` channels.
        setting: Name of the setting.
        block: Dates per block of the bootstrap.
        samples: Resamples of the bootstrap.
        seed: The experiment's seed.
        starts: First day of each cycle, see `resample_dates`.

    Returns:
        The tables by name.
    """
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLE_COLUMNS}
    for method, record in records.items():
        # One seed and one set of dates, so that all methods have the same resamples.
        resamples = resample_dates(record.time, block, samples, seed, starts)
        key = (method, setting)
        found: dict[str, Iterator[tuple[Any, ...]]] = {
            "results": _results(record, means[method], channels, resamples),
            "cases": _cases(record, channels),
            "rank_histogram": _ranks(means[method]["rank"], channels),
            "observations": observation_rows(record),
            "observation_space": space_rows(record, resamples),
            "observation_ranks": rank_rows(record),
            "regions": regional_rows(record, channels, resamples),
            "spectra": spectra_rows(spectra[method], channels),
        }
        for name, lines in found.items():
            # Record which formulas were used for a score, where they differ.
            made_by = (record.estimator,) if "estimator" in TABLE_COLUMNS[name] else ()
            rows[name] += [(*key, *line, *made_by) for line in lines]
    return {name: pd.DataFrame(rows[name], columns=TABLE_COLUMNS[name]) for name in TABLE_COLUMNS}


def _results(
    record: MethodRecord,
    means: Mapping[str, Tensor],
    channels: Sequence[FieldSpec],
    resamples: Resamples,
) -> Iterator[tuple[Any, ...]]:
    yield from score_rows(SCORES, record, means, channels, resamples)
    if n := len(record.case):
        diverged = float(record.diverged.sum())
        yield "all", "all", "divergent_members", diverged, np.nan, np.nan, n
        seconds = float(record.seconds.mean()) / record.members
        yield "all", "all", "seconds_per_member", seconds, np.nan, np.nan, n


def _cases(record: MethodRecord, channels: Sequence[FieldSpec]) -> Iterator[tuple[Any, ...]]:
    days = [iso_date(time) for time in record.time.tolist()]
    for c, spec in enumerate(channels):
        for statistic in STATISTICS:
            values = record.statistics[statistic][:, c].tolist()
            for case, date, value in zip(record.case.tolist(), days, values, strict=True):
                if np.isfinite(value):
                    yield case, str(date), spec.variable, level_name(spec), statistic, value


def _ranks(frequency: Tensor, channels: Sequence[FieldSpec]) -> Iterator[tuple[Any, ...]]:
    frequency = frequency.cpu()
    for key, index in places(channels).items():
        weights = torch.nanmean(frequency[index], dim=0)
        if bool(weights.isfinite().all()):
            yield from ((*key, k, weight) for k, weight in enumerate(weights.tolist()))
