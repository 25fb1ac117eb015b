"""Daily values of stations as arrays, joined from the parts of an archive.

A table of the values of all stations and days would be several times as large as the arrays, which
span only the days with a value: a store of decades may have reports of a few years.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data_modules.preparation.blocks import channel_units
from data_modules.preparation.in_situ.checked import DailyReports
from slams.fields import FieldSpec
from slams.normalisation import TRANSFORMS

__all__ = ["DailyArrays", "daily_arrays"]

_PLACES = ["station_id", "latitude", "longitude", "elevation"]
# A count that is stated last.
_LAST = "daily values"


@dataclass(frozen=True)
class DailyArrays:
    """Daily values of `P` stations on `N` consecutive days of a store.

    Attributes:
        places: Columns station_id, latitude, longitude and elevation, `P` rows sorted by name.
        values: `(N, P, V)` float64 channel units, NaN where there is none.
        errors: `(N, P, V)` standard deviations that the reports state (channel units), NaN where
            they do not; `None` where no report does.
        first: Position of the first of the `N` days in the store.
        counts: Numbers of reports, of rejections by reason, and of daily values.
        repairs: Number of repairs by kind.
        hours: `(N, P, V)` hours from the time of the step to that of the value, NaN where there is
            none; `None` for values of days.
    """

    places: pd.DataFrame
    values: np.ndarray
    errors: np.ndarray | None
    first: int
    counts: dict[str, int]
    repairs: dict[str, int]
    hours: np.ndarray | None = None


def daily_arrays(
    parts: Iterable[DailyReports], observed: Sequence[FieldSpec], days: np.ndarray
) -> DailyArrays:
    """Join daily values of different stations; one part is in memory at a time.

    Args:
        parts: Daily values, all those of a station in one part.
        observed: The `V` channels observed.
        days: `(N,)` days of the store since 1970-01-01, or the times of its steps.
    """
    counts: Counter[str] = Counter()
    repairs: Counter[str] = Counter()
    found = []
    for part in parts:
        counts.update(part.counts)
        repairs.update(part.repairs)
        if not part.daily.empty:
            found.append(_pivot(part, observed, days))
    counts[_LAST] = counts.pop(_LAST, 0)
    first = min((one.first for one in found), default=0)
    stop = max((one.first + len(one.values) for one in found), default=0)
    places = pd.concat([one.places for one in found] or [pd.DataFrame(columns=_PLACES)])
    order = np.argsort(places["station_id"].to_numpy(dtype=str), kind="stable")
    columns = np.split(np.argsort(order), np.cumsum([len(one.places) for one in found])[:-1])
    values = np.full((stop - first, len(places), len(observed)), np.nan)
    stated = any(one.errors is not None for one in found)
    errors = np.full_like(values, np.nan) if stated else None
    hours = np.full_like(values, np.nan) if any(one.hours is not None for one in found) else None
    for one, own in zip(found, columns, strict=False):
        rows = slice(one.first - first, one.first - first + len(one.values))
        values[rows, own] = one.values
        if errors is not None and one.errors is not None:
            errors[rows, own] = one.errors
        if hours is not None and one.hours is not None:
            hours[rows, own] = one.hours
    return DailyArrays(
        places.iloc[order].reset_index(drop=True),
        values,
        errors,
        first,
        dict(counts),
        dict(repairs),
        hours,
    )


@dataclass(frozen=True)
class _Part:
    """The arrays of one part, see `DailyArrays`."""

    places: pd.DataFrame
    values: np.ndarray
    errors: np.ndarray | None
    first: int
    hours: np.ndarray | None = None


def _pivot(part: DailyReports, observed: Sequence[FieldSpec], days: np.ndarray) -> _Part:
    """Return a part's values and errors on the days from its first to its last value."""
    table, daily = part.table, part.daily
    places = (
        table[table["station_id"].isin(daily["station_id"].unique())]
        .drop_duplicates("station_id")
        .sort_values("station_id", ignore_index=True)[_PLACES]
    )
    station = pd.Index(places["station_id"]).get_indexer(daily["station_id"])
    day = pd.Index(days).get_indexer(daily["day"])
    channel = daily["channel"].to_numpy(dtype=np.int64)
    first = int(day.min())
    shape = (int(day.max()) + 1 - first, len(places), len(observed))

    def array(column: str) -> np.ndarray:
        out = np.full(shape, np.nan)
        out[day - first, station, channel] = daily[column]
        return out

    values, errors = array("value"), None
    if "error" in daily:
        errors = array("error")
        for number, spec in enumerate(observed):
            convert = TRANSFORMS[spec.transform].error
            errors[..., number] = convert(values[..., number], errors[..., number])
    values = channel_units(values.transpose(0, 2, 1), observed).transpose(0, 2, 1)
    hours = array("hours_after") if "hours_after" in daily else None
    return _Part(places, values, errors, first, hours)
