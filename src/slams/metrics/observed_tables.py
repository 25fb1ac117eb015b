"""The tables of observation space.

`observations`: method, setting, observation, quantity, mean, sd, n, chi2; for `o_minus_b` and
`o_minus_a` of the assimilated observations, over the globe. `chi2` is relative to `R + H B H^T`
and to `R`, respectively.

`observation_space`: method, setting, observation, use, region, statistic, value, lower, upper,
n; the statistics of `slams.metrics.observation_space` with their 95 % intervals over dates; `use`
is `assimilated` or `held_out`; `n` is the number of observations.

`observation_ranks`: method, setting, observation, use, bin, weight, n; the fraction of the
observations with each rank among members with observation error, over the globe.

`departures`, of cycles: method, setting, cycle (its first day), case, date, observation, use, n,
o_minus_b_mean, o_minus_b_rms, o_minus_a_mean, o_minus_a_rms; the departures of each date, over the
globe, in the observations' units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from slams.calendar.days import day_of, iso_date
from slams.metrics.bootstrap import Resamples
from slams.metrics.columns import DEPARTURE_COLUMNS
from slams.metrics.drift import cycle_of
from slams.metrics.observation_space import (
    ASSIMILATED,
    SUMS,
    Key,
    ObservedSums,
    observed_statistics,
)
from slams.metrics.records import MethodRecord
from slams.metrics.regions import REGIONS

__all__ = ["departures", "observation_rows", "rank_rows", "space_rows"]


def observation_rows(record: MethodRecord) -> Iterator[tuple[Any, ...]]:
    """Return the rows of `observations` of one method, starting with the column observation."""
    for key in _keys(record):
        name, use = key
        total = _total(record, key)
        sums = dict(zip(SUMS, total.sums[0].tolist(), strict=True))
        values = observed_statistics(total.sums[0], record.members, use, record.centred)
        for letter, divided in (("b", "b_b/v"), ("a", "a_a/r")):
            quantity = f"o_minus_{letter}"
            mean = float(values[f"{quantity}_mean"])
            if use == ASSIMILATED and math.isfinite(mean):
                sd = float(values[f"{quantity}_sd"])
                yield name, quantity, mean, sd, int(sums["n"]), sums[divided] / sums["n"]


def space_rows(record: MethodRecord, resamples: Resamples) -> Iterator[tuple[Any, ...]]:
    """Return the rows of `observation_space` of one method, starting with the column observation.

    Args:
        record: The method's per-case results, merged over ranks.
        resamples: The resamples of the cases.
    """
    for key in _keys(record):
        name, use = key
        zero = torch.zeros(len(REGIONS), len(SUMS), dtype=torch.float64)
        cases = torch.stack([c[key].sums if key in c else zero for c in record.observed])
        # Sums over resamples, not means, so that a date with more observations has more weight.
        drawn = torch.einsum("sn,nrk->srk", resamples.counts, cases)
        values = observed_statistics(cases.sum(dim=0), record.members, use, record.centred)
        resampled = observed_statistics(drawn, record.members, use, record.centred)
        count = cases[..., SUMS.index("n")].sum(dim=0)
        for statistic, value in values.items():
            lower, upper = resamples.interval(resampled[statistic])
            for r, region in enumerate(REGIONS):
                if bool(value[r].isfinite()):
                    numbers = float(value[r]), float(lower[r]), float(upper[r])
                    yield name, use, region, statistic, *numbers, int(count[r])


def departures(
    records: Mapping[str, MethodRecord], setting: str, starts: Sequence[float]
) -> pd.DataFrame:
    """Return the table `departures` of cycles.

    Args:
        records: Per-case results of each method, merged over ranks.
        setting: Name of the setting.
        starts: First day of each cycle, days since 1970-01-01.
    """
    rows = []
    for method, record in records.items():
        cases = zip(record.case.tolist(), record.time.tolist(), record.observed, strict=True)
        for case, time, observed in cases:
            for (name, use), found in observed.items():
                sums = dict(zip(SUMS, found.sums[0].tolist(), strict=True))
                n = sums["n"]
                numbers = (sums["b"] / n, (sums["b_b"] / n) ** 0.5)
                numbers += (sums["a"] / n, (sums["a_a"] / n) ** 0.5)
                date = iso_date(time)
                rows.append((method, setting, "", case, date, name, use, int(n), *numbers))
    table = pd.DataFrame(rows, columns=DEPARTURE_COLUMNS)
    if len(table):
        table["cycle"] = cycle_of(table["date"], [day_of(start).isoformat() for start in starts])
    return table


def rank_rows(record: MethodRecord) -> Iterator[tuple[Any, ...]]:
    """Return the rows of `observation_ranks` of one method, starting with column observation."""
    for key in _keys(record):
        ranks = _total(record, key).ranks
        n = int(ranks.sum())
        for rank, weight in enumerate((ranks / n).tolist()):
            yield *key, rank, weight, n


def _keys(record: MethodRecord) -> list[Key]:
    return list(dict.fromkeys(key for case in record.observed for key in case))


def _total(record: MethodRecord, key: Key) -> ObservedSums:
    parts = [case[key] for case in record.observed if key in case]
    return ObservedSums(
        torch.stack([part.sums for part in parts]).sum(dim=0),
        torch.stack([part.ranks for part in parts]).sum(dim=0),
    )
