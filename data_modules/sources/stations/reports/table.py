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

A missing value has no row. Changes made while reading are counted in `repairs`; faults that cannot
be repaired without guessing are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

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
    """

    table: pd.DataFrame
    conventions: Mapping[str, str] = field(default_factory=dict)
    repairs: Mapping[str, int] = field(default_factory=dict)

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
) -> StationReports:
    """Check and sort a long table.

    Args:
        table: Columns as above; `hours`, `level`, `accepted` and `reason` may be left out.
        where: Path of the archive, for messages.
        key: Dotted key of the archive in the recipe, for messages.
        conventions: See `StationReports`.
        repairs: Number of repairs made by the reader, by kind.

    Raises:
        UserError: There is no value, a station has impossible coordinates, there are two
            different values of one station, time and variable, or temperatures have other units.
    """
    defaults = {"hours": 0.0, "level": np.nan, "accepted": True, "reason": ""}
    table = table.assign(**{k: v for k, v in defaults.items() if k not in table})
    table = table[list(COLUMNS)]
    if table.empty:
        raise UserError(
            f"station archive {where}: found no value of the requested variables; check "
            f"{key}.path and observations.stations.variables"
        )
    table, done = checked_table(table, f"station archive {where}", _KEY, repairs or {})
    _check_units(table, where)
    return StationReports(table, dict(conventions), {k: v for k, v in done.items() if v})


def checked_table(
    table: pd.DataFrame, where: str, identity: Sequence[str], repairs: Mapping[str, int]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Check the positions of a complete table, drop repeated rows, and sort it.

    Args:
        table: All columns of a long table.
        where: Name of the table, for messages.
        identity: Columns in which two different accepted values must differ.
        repairs: Number of repairs made before, by kind.

    Returns:
        The table, sorted by station, variable, level and time, and the repairs.

    Raises:
        UserError: A station has impossible coordinates, or there are two different values of one
            station, time and variable.
    """
    done = dict(repairs)
    _check_positions(table, where)
    same = table.duplicated([*_KEY, "value", "accepted"])
    if same.any():
        done["repeated rows dropped"] = done.get("repeated rows dropped", 0) + int(same.sum())
        table = table[~same]
    _refuse_contradictions(table, where, list(identity))
    table = table.sort_values(
        ["station_id", "variable", "level", "time", "hours"], kind="stable", ignore_index=True
    )
    return table, done


def _check_positions(table: pd.DataFrame, where: str) -> None:
    """Refuse coordinates that are impossible or NaN."""
    for name, low, high in (("latitude", -90.0, 90.0), ("longitude", -180.0, 360.0)):
        outside = ~table[name].between(low, high)
        if outside.any():
            row = table[outside].iloc[0]
            raise UserError(
                f"{where}: station {row['station_id']}: {name} {row[name]:g} is "
                f"outside [{low:g}, {high:g}] degrees"
            )


def _refuse_contradictions(table: pd.DataFrame, where: str, identity: list[str]) -> None:
    """Refuse two different accepted values of one station, time and variable."""
    accepted = table[table["accepted"]]
    twice = accepted.duplicated(identity, keep=False)
    if not twice.any():
        return
    first = accepted[twice].sort_values(identity).iloc[0]
    level = "" if np.isnan(first["level"]) else f" at {first['level']:g} hPa"
    raise UserError(
        f"{where}: {first['variable']}{level} of station {first['station_id']} at "
        f"{first['time']:%Y-%m-%dT%H:%M} occurs more than once with different values; remove the "
        f"duplicates"
    )


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
