"""The long table returned by every reader of station reports: one row per value.

Columns::

    station_id            text
    latitude, longitude   degrees north, degrees east in [-180, 360)
    elevation             m above sea level, NaN where unknown
    time                  datetime64[ns] UTC: the instant, or the end of the period
    hours                 length of the period that the value covers; 0 for an instant
    variable              `temperature` (on a level), `2m_temperature`, `total_precipitation_24hr`,
                          `outgoing_longwave_radiation`
    level                 hPa, NaN without levels
    value                 K, mm over the period, W m-2
    accepted, reason      False with the reason where the archive's own flags reject the value
    error                 optional: standard deviation of the value's error, NaN where not stated

A missing value has no row. Changes made while reading are counted in `repairs`. Reports with
faults that cannot be repaired without guessing are left out and counted, up to a share of all
(`reports.accounting`); a table in other units is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.accounting import Accounting, LeftOut
from data_modules.sources.stations.reports.places import keep_likely, keep_on_globe
from slams.errors import UserError

__all__ = ["COLUMNS", "StationReports", "checked_table", "station_reports"]

COLUMNS = (
    "station_id",
    "latitude",
    "longitude",
    "elevation",
    "time",
    "hours",
    "variable",
    "level",
    "value",
    "accepted",
    "reason",
)
# Temperatures whose median is outside (K) have units other than those of the layout.
_PLAUSIBLE_TEMPERATURE = (150.0, 340.0)
_KEY = ["station_id", "latitude", "longitude", "time", "hours", "variable", "level"]


@dataclass(frozen=True)
class StationReports:
    """Reports of an archive.

    Attributes:
        table: The long table, sorted by station, variable, level and time.
        conventions: The layout's definitions of a day, a value and a flag; recorded in the store.
        repairs: Number of repairs made while reading, by kind.
        left_out: Reports that could not be used, by reason.
    """

    table: pd.DataFrame
    conventions: Mapping[str, str] = field(default_factory=dict)
    repairs: Mapping[str, int] = field(default_factory=dict)
    left_out: Sequence[LeftOut] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of reports, and of rejected reports by reason."""
        rejected = self.table.loc[~self.table["accepted"], "reason"].value_counts()
        return {"reports": len(self.table), **{str(k): int(v) for k, v in rejected.items()}}


def station_reports(
    table: pd.DataFrame,
    where: str,
    key: str,
    conventions: Mapping[str, str],
    repairs: Mapping[str, int] | None = None,
    left_out: Accounting | None = None,
    listed: pd.DataFrame | None = None,
) -> StationReports:
    """Check and sort a long table.

    Args:
        table: Columns as above; `hours`, `level`, `accepted`, `reason` and `error` may be left
            out.
        where: Path of the archive, for messages.
        key: Dotted key of the archive in the recipe, for messages.
        conventions: See `StationReports`.
        repairs: Number of repairs made by the reader, by kind.
        left_out: Account of what the reader left out; by default nothing may be left out.
        listed: Latitude, longitude and country of the archive's stations by name, or `None`.

    Raises:
        UserError: There is no value, temperatures have other units, or too many reports cannot be
            used: they have an impossible position, or there are two different values of one
            station, time and variable.
    """
    left_out = left_out or Accounting(f"station archive {where}")
    defaults = {"hours": 0.0, "level": np.nan, "accepted": True, "reason": ""}
    table = table.assign(**{k: v for k, v in defaults.items() if k not in table})
    table = table[[*COLUMNS, *(["error"] if "error" in table else [])]]
    table, done = checked_table(table, _KEY, repairs or {}, left_out)
    table = keep_likely(table, left_out, listed).reset_index(drop=True)
    left_out.check(len(table))
    if table.empty and left_out.limit < 1:  # a part of an archive may be empty
        raise UserError(
            f"station archive {where}: found no value of the requested variables; check "
            f"{key}.path and observations.stations.variables"
        )
    _check_units(table, where)
    done = {k: v for k, v in done.items() if v}
    return StationReports(table, dict(conventions), done, left_out.records)


def checked_table(
    table: pd.DataFrame,
    identity: Sequence[str],
    repairs: Mapping[str, int],
    left_out: Accounting,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Check the positions of a complete table, drop repeated rows, and sort it.

    Args:
        table: All columns of a long table.
        identity: Columns in which two different accepted values must differ.
        repairs: Number of repairs made before, by kind.
        left_out: Account of the reports that are left out: those without a position on the
            globe, and all of several different values of one station, time and variable.

    Returns:
        The table, sorted by station, variable, level and time, and the repairs.

    Raises:
        UserError: A report has such a fault, and none may be left out.
    """
    done = dict(repairs)
    if table.empty:
        return table, done
    table = keep_on_globe(table, left_out)
    same = table.duplicated([*_KEY, "value", "accepted"])
    if same.any():
        done["repeated rows dropped"] = done.get("repeated rows dropped", 0) + int(same.sum())
        table = table[~same]
    table = _keep_single(table, list(identity), left_out)
    table = table.sort_values(
        ["station_id", "variable", "level", "time", "hours"], kind="stable", ignore_index=True
    )
    return table, done


def _keep_single(table: pd.DataFrame, identity: list[str], left_out: Accounting) -> pd.DataFrame:
    """Leave out all of several accepted values of one station, time and variable.

    Nothing says which of them is right.
    """
    accepted = table["accepted"].astype(bool)
    twice = accepted & table[accepted].duplicated(identity, keep=False).reindex(
        table.index, fill_value=False
    )
    if not twice.any():
        return table

    def example(_: pd.Series) -> str:
        first = table[twice].sort_values(identity).iloc[0]
        level = "" if np.isnan(first["level"]) else f" at {first['level']:g} hPa"
        return (
            f"{first['variable']}{level} of station {first['station_id']} at "
            f"{first['time']:%Y-%m-%dT%H:%M} occurs more than once with different values; remove "
            f"the duplicates"
        )

    return left_out.keep(table, ~twice, "several values at once", example)


def _check_units(table: pd.DataFrame, where: str) -> None:
    """Refuse temperatures in other units, by their median; the QC rejects single outliers."""
    low, high = _PLAUSIBLE_TEMPERATURE
    known = table["accepted"] & table["variable"].str.endswith("temperature")
    for variable, values in table.loc[known].groupby("variable")["value"]:
        middle = float(values.median())
        if not low <= middle <= high:
            raise UserError(
                f"station archive {where}: the median of {variable} is {middle:g} K, "
                f"expected {low:g} to {high:g}; the file has other units than its layout"
            )
