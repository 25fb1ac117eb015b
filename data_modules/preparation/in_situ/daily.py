"""Daily values of station reports: one per station, day and channel.

* 2 m temperature: the mean of the four quarters of the UTC day, each the mean of its reports, so
  that more frequent reports in daytime do not bias the mean; daily values of an archive
  (GHCN-Daily) are used as they are.
* Temperature on a level: the value reported at the level, otherwise interpolated in the logarithm
  of pressure between two reported levels whose ratio is at most 1.3; the daily value is the mean
  of the day's soundings.
* Precipitation: the sum of non-overlapping periods of one length that cover the day; a period
  belongs to the day that contains its middle. Of several lengths the one that covers most of the
  day is used; if equal, the longer one.
* OLR: as 2 m temperature.

Values at steps of less than a day are those of `in_situ.steps`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from slams.calendar.days import days_since_epoch
from slams.config.schema import StationSourceConfig
from slams.fields import FieldSpec

__all__ = [
    "apart",
    "daily_values",
    "middles",
    "near_level",
    "near_levels",
    "profile_value",
    "report_days",
]

# Largest ratio of two pressures between which a profile is interpolated.
_RATIO = 1.3
# Reported levels this close (hPa) count as the level itself.
_SAME_LEVEL = 0.5
# Tolerance for rounding in the fraction of a day.
_SLACK = 1e-9


def daily_values(
    table: pd.DataFrame, channels: Sequence[FieldSpec], config: StationSourceConfig
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Compute daily values from the accepted reports.

    Args:
        table: Long table after the quality control.
        channels: The observed channels.
        config: Numbers of reports required per day.

    Returns:
        Columns station_id, day (days since 1970-01-01), channel (index), value (K, mm day-1,
        W m-2); and the number of days with too few reports, by channel.
    """
    good = table[table["accepted"]]
    parts, short = [], {}
    for index, spec in enumerate(channels):
        rows = good[good["variable"] == spec.variable]
        if spec.variable == "total_precipitation_24hr":
            found, few = _totals(rows, config.coverage)
        elif spec.level is not None:
            found, few = _soundings(rows, spec.level, config.soundings)
        else:
            found, few = _means(rows, config.quarters)
        short[f"{spec.name}: days with too few reports"] = few
        parts.append(found.assign(channel=index))
    values = pd.concat(parts, ignore_index=True)
    return values, {k: v for k, v in short.items() if v}


def profile_value(pressure: np.ndarray, temperature: np.ndarray, level: float) -> float:
    """Return a profile's value at a level, reported or interpolated in log pressure, or NaN.

    Args:
        pressure: `(n,)` hPa.
        temperature: `(n,)` K.
        level: hPa.
    """
    near = np.abs(pressure - level)
    if len(near) and near.min() <= _SAME_LEVEL:
        return float(temperature[near.argmin()])
    below, above = pressure > level, pressure < level
    if not below.any() or not above.any():
        return math.nan
    low = np.flatnonzero(below)[pressure[below].argmin()]
    high = np.flatnonzero(above)[pressure[above].argmax()]
    if pressure[low] / pressure[high] > _RATIO:
        return math.nan
    share = math.log(pressure[low] / level) / math.log(pressure[low] / pressure[high])
    return float(temperature[low] + share * (temperature[high] - temperature[low]))


def report_days(table: pd.DataFrame) -> pd.Series:
    """Return the UTC day of each report, that of the middle of the period that it covers.

    Args:
        table: Columns time and hours of a long table.

    Returns:
        `(n,)` int64 days since 1970-01-01.
    """
    return np.floor(middles(table)).astype(np.int64)


def middles(table: pd.DataFrame) -> pd.Series:
    """Return the middle of the period that each report covers, `(n,)` days since 1970-01-01."""
    return days_since_epoch(table["time"] - _hours(table["hours"]) / 2)


def near_levels(levels: Sequence[int], pressure: np.ndarray) -> np.ndarray:
    """Return the position of the nearest level in log pressure, -1 where it is too far away.

    Args:
        levels: Levels (hPa), at least one.
        pressure: `(n,)` hPa of reports, NaN where they have none.
    """
    ratio = np.log(np.asarray(levels, dtype=np.float64)) - np.log(pressure)[:, None]
    apart = np.nan_to_num(np.abs(ratio), nan=np.inf)
    nearest = apart.argmin(axis=1)
    return np.where(apart.min(axis=1) <= math.log(_RATIO), nearest, -1)


def near_level(rows: pd.DataFrame, level: int) -> pd.Series:
    """Return which reports are near enough to a level (hPa) to matter for its value."""
    return rows["level"].between(level / _RATIO - 1, level * _RATIO + 1)


def _means(rows: pd.DataFrame, quarters: int) -> tuple[pd.DataFrame, int]:
    """Average instants over the quarters of the day; use daily values as they are."""
    whole = rows[rows["hours"] >= 24]
    instants = rows[rows["hours"] < 24]
    day = days_since_epoch(instants["time"] - _hours(instants["hours"]) / 2)
    quarter = np.floor((day % 1.0) * 4).astype(np.int64)
    keyed = instants.assign(day=np.floor(day).astype(np.int64), quarter=quarter)
    means = keyed.groupby(["station_id", "day", "quarter"])[["value"]].mean()
    found, few = _daily_means(means, quarters)
    daily = pd.DataFrame(
        {
            "station_id": whole["station_id"],
            "day": report_days(whole),
            "value": whole["value"],
        }
    )
    # An archive's own daily value takes precedence over one computed from reports.
    both = pd.concat([daily, found], ignore_index=True)
    both = both.drop_duplicates(["station_id", "day"], ignore_index=True)
    return both, few


def _daily_means(values: pd.DataFrame, fewest: int) -> tuple[pd.DataFrame, int]:
    """Average the values of each station and day; count the days with too few of them."""
    by_day = values.groupby(["station_id", "day"])
    by_day = by_day.agg(value=("value", "mean"), size=("value", "size")).reset_index()
    enough = by_day["size"] >= fewest
    return by_day.loc[enough, ["station_id", "day", "value"]], int((~enough).sum())


def _soundings(rows: pd.DataFrame, level: int, soundings: int) -> tuple[pd.DataFrame, int]:
    """Average the day's soundings at a level."""
    records = []
    # A mean over hours belongs to the day of their middle, as everywhere.
    rows = rows.assign(time=rows["time"] - _hours(rows["hours"]) / 2)
    near = rows[near_level(rows, level)]
    for (name, time), profile in near.groupby(["station_id", "time"], sort=True):
        value = profile_value(
            profile["level"].to_numpy(), profile["value"].to_numpy(), float(level)
        )
        if not math.isnan(value):
            records.append((name, time, value))
    found = pd.DataFrame(records, columns=["station_id", "time", "value"])
    if found.empty:
        return pd.DataFrame(columns=["station_id", "day", "value"]), 0
    found["day"] = np.floor(days_since_epoch(found["time"])).astype(np.int64)
    return _daily_means(found, soundings)


def _totals(rows: pd.DataFrame, coverage: float) -> tuple[pd.DataFrame, int]:
    """Sum precipitation over the periods of a day."""
    rows = rows[rows["hours"] > 0].sort_values(["station_id", "hours", "time"], kind="stable")
    if rows.empty:
        return pd.DataFrame(columns=["station_id", "day", "value"]), 0
    rows = rows[apart(rows)]
    sums = (
        rows.assign(day=report_days(rows), covered=rows["hours"] / 24)
        .groupby(["station_id", "day", "hours"])[["value", "covered"]]
        .sum()
        .reset_index()
        .sort_values(["station_id", "day", "covered", "hours"], kind="stable")
    )
    best = sums.drop_duplicates(["station_id", "day"], keep="last")
    # Periods that cover more than 24 hours of a day have shifted; such days are rejected.
    enough = best["covered"].between(coverage - _SLACK, 1.0 + _SLACK)
    return best.loc[enough, ["station_id", "day", "value"]], int((~enough).sum())


def apart(rows: pd.DataFrame) -> np.ndarray:
    """Return a mask of periods that overlap no earlier one of the same station and length."""
    start = (rows["time"] - _hours(rows["hours"])).to_numpy()
    end = rows["time"].to_numpy()
    group = rows.groupby(["station_id", "hours"], sort=False).ngroup().to_numpy()
    kept = np.ones(len(rows), dtype=bool)
    last_group, last_end = -1, np.datetime64(0, "ns")
    for index in range(len(rows)):
        if group[index] == last_group and start[index] < last_end:
            kept[index] = False
            continue
        last_group, last_end = group[index], end[index]
    return kept


def _hours(hours: pd.Series) -> pd.Series:
    return pd.to_timedelta(hours, unit="h")
