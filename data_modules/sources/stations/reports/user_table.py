"""Reports that a user gives as a table, converted to the long table of the readers of archives.

Columns::

    time        instant, or end of the period (ISO, UTC unless it has an offset)
    latitude    degrees north
    longitude   degrees east in [-180, 360]
    variable    WeatherBench2 name or a short one (`slams.variables.OTHER_NAMES`)
    value       K, m s-1, kg kg-1, mm over the period, W m-2, Pa, unless `units` states others
    elevation   m above sea level; optional
    level       hPa, or the units in `level_units`; required by variables on levels alone
    hours       length of the period that the value covers, 0 for an instant; optional
    station_id  name of the station; optional, the position by default
    error       standard deviation of the error of the value, same units; optional
    units       units of the value and its error; optional, one of those that files may have

Precipitation without `hours` is the total of the UTC day of its time; other values without `hours`
are instants. A row without a value, or with -9999 for it, is left out and counted. Rows with
faults are refused one by one, or left out and counted (`reports.accounting`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from data_modules.sources.canonical.units import level_factor
from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.sources.stations.reports.columns import numbers as read_numbers
from data_modules.sources.stations.reports.columns import utc_times, without_codes
from data_modules.sources.stations.reports.table import COLUMNS, StationReports, checked_table
from data_modules.sources.stations.reports.units import (
    converted,
    refuse_other_units,
)
from data_modules.tables.columns import (
    LARGEST,
    position_rules,
    refuse_missing,
    times_and_numbers,
)
from slams.errors import UserError, nearest
from slams.variables import ON_LEVELS, OTHER_NAMES, UNITS, find_variable

__all__ = [
    "HIGHEST_PRESSURE",
    "IDENTITY",
    "OPTIONAL",
    "REQUIRED",
    "read_table",
    "with_index",
]

REQUIRED = ("time", "latitude", "longitude", "variable", "value")
_NUMBERS = ("elevation", "level", "hours", "error")
OPTIONAL = (*_NUMBERS, "station_id", "units", "level_units")
_RAIN = "total_precipitation_24hr"
# Two values of one station, time and variable contradict each other, whatever the position.
IDENTITY = ("station_id", "time", "hours", "variable", "level")
# Above all pressures in the atmosphere (hPa).
HIGHEST_PRESSURE = 1100.0


def read_table(
    table: pd.DataFrame, where: str, left_out: Accounting | None = None
) -> StationReports:
    """Convert a table of reports to the long table of `sources.stations.reports.table`.

    Args:
        table: Columns as above; other columns are ignored. A time in the index is found there.
        where: Name of the table, for messages.
        left_out: Account of the rows with faults that are left out; by default the first one is
            refused. The caller checks the account.

    Returns:
        The reports, with a column `error` where the table has one, and the numbers of repairs.

    Raises:
        UserError: A column is missing, the table is empty, or values have other units than
            expected; or, where no row may be left out, a time, number, position, variable, unit
            or error is invalid, or two different values of one station, time and variable exist.
    """
    lenient, left_out = left_out is not None, left_out or Accounting(where)
    table = with_index(table)
    refuse_missing(table, REQUIRED, OPTIONAL, where)
    if table.empty:
        raise UserError(f"{where}: found a table without rows, expected at least one report")
    table = table.reset_index(drop=True)
    names = [name for name in _NUMBERS if name in table]
    columns = ["latitude", "longitude", "value", *names]
    if lenient:
        read = _times_and_numbers(table, columns, left_out)
    else:
        read = times_and_numbers(table, columns, where)
    for name in ("value", "elevation", "error"):
        if name in read:
            read[name] = without_codes(read[name])
    # Text columns with missing entries become empty text.
    for name in ("station_id", "units", "level_units"):
        text = table[name].astype("string").fillna("").str.strip() if name in table else ""
        read[name] = pd.Series(text, index=table.index, dtype=object)[read.index]
    read = _with_variables(read, table["variable"], left_out)
    read = read.assign(**{name: np.nan for name in _NUMBERS if name not in read})
    missing = int(read["value"].isna().sum())
    read = read[read["value"].notna()]
    if read.empty and not lenient:
        raise UserError(f"{where}: found no report with a value, expected at least one")
    read = _check(_with_levels(read, left_out), left_out)
    read = _complete(read, left_out)
    read = converted(read, left_out)
    refuse_other_units(read, where)
    kept = [*COLUMNS, "error"] if "error" in names else list(COLUMNS)
    repairs = {"missing values left out": missing}
    found, repairs = checked_table(read[kept], IDENTITY, repairs, left_out)
    return StationReports(found, {}, {k: v for k, v in repairs.items() if v}, left_out.records)


def with_index(table: pd.DataFrame) -> pd.DataFrame:
    """Move known columns that are in the index, usually the time, to the columns."""
    known = (*REQUIRED, *OPTIONAL)
    names = [name for name in table.index.names if name in known and name not in table]
    return table.reset_index(names) if names else table


def _times_and_numbers(
    table: pd.DataFrame, names: list[str], left_out: Accounting
) -> pd.DataFrame:
    """Convert times and numbers, and leave out the rows with other text."""
    read = pd.DataFrame({"time": utc_times(table["time"])}, index=table.index)
    for name in names:
        read[name] = read_numbers(table[name])
        text = table[name].astype("string").str.strip()
        # What is no number is left out, what is missing is missing.
        given = pd.to_numeric(text, errors="coerce").notna() | text.fillna("").isin(["", "nan"])
        read = left_out.keep(
            read,
            given[read.index],
            f"{name} that is no number",
            lambda row, name=name: f"row {row.name} has {name} {table[name][row.name]!r}",
        )
    return left_out.keep(
        read,
        read["time"].notna(),
        "time unreadable",
        lambda row: f"row {row.name} has time {table['time'][row.name]!r}, expected a time",
    )


def _with_variables(read: pd.DataFrame, names: pd.Series, left_out: Accounting) -> pd.DataFrame:
    """Add the canonical names of variables."""
    names = names[read.index].astype(object).map(str)
    found = {name: find_variable(name) for name in names.unique()}

    def example(row: pd.Series) -> str:
        name = names[row.name]
        every = [*UNITS, *(short for shorts in OTHER_NAMES.values() for short in shorts)]
        hint = nearest(name, every)
        if not hint.startswith("did you mean"):
            hint = nearest(name, tuple(UNITS))
        return f"row {row.name} has the unknown variable {name!r}; {hint}"

    read = read.assign(variable=names.map(found))
    return left_out.keep(read, read["variable"].notna(), "unknown variable", example)


def _with_levels(read: pd.DataFrame, left_out: Accounting) -> pd.DataFrame:
    """Convert levels to hPa."""
    factors = {units: level_factor(units) for units in read["level_units"].unique()}
    factor = read["level_units"].map(factors).astype("float64")
    return left_out.keep(
        read.assign(level=read["level"] * factor),
        factor.notna(),
        "units of a level unknown",
        lambda row: (
            f"row {row.name} has a level in {row['level_units']!r}, expected one of hPa, Pa, mbar "
            f"or another unit of pressure"
        ),
    )


def _keep(
    read: pd.DataFrame, rules: Mapping[str, tuple[pd.Series, str]], left_out: Accounting
) -> pd.DataFrame:
    """Leave out the rows that do not fit the rules of columns, see `tables.columns`."""
    for name, (fits, expected) in rules.items():
        read = left_out.keep(
            read,
            fits[read.index],
            f"{name} out of range",
            lambda row, name=name, expected=expected: (
                f"row {row.name} has {name} {row[name]}, expected {expected}"
            ),
        )
    return read


def _check(read: pd.DataFrame, left_out: Accounting) -> pd.DataFrame:
    """Leave out rows whose position, level, period or error is out of range."""
    error, level, hours = read["error"], read["level"], read["hours"]
    rain = read["variable"] == _RAIN
    rules = position_rules(read) | {
        "level": (
            level.isna() | ((level > 0) & (level <= HIGHEST_PRESSURE)),
            f"hPa, above 0 and up to {HIGHEST_PRESSURE:g}; state other units in a column "
            f"level_units, such as Pa",
        ),
        "hours": (
            hours.isna() | (hours.between(0, 24) & ~(rain & (hours == 0))),
            "0 to 24, and above 0 for precipitation",
        ),
        "error": (
            error.isna() | error.between(1 / LARGEST, LARGEST),
            "a positive finite number, or none",
        ),
        "elevation": (~np.isinf(read["elevation"]), "a finite number, or none"),
    }
    read = _keep(read, rules, left_out)

    def example(row: pd.Series) -> str:
        what = f"row {row.name} has {row['variable']}"
        if pd.notna(row["level"]):
            return f"{what} on level {row['level']:g}, expected no level for this variable"
        near = ", or name it 2m_temperature" if row["variable"] == "temperature" else ""
        return f"{what} without a level; state it (hPa) in a column level{near}"

    fits = read["variable"].isin(ON_LEVELS) == read["level"].notna()
    return left_out.keep(read, fits, "level missing or not expected", example)


def _complete(read: pd.DataFrame, left_out: Accounting) -> pd.DataFrame:
    """Fill in the periods and the names of stations."""
    read = read.copy()
    unnamed = read["station_id"] == ""
    read.loc[unnamed, "station_id"] = [
        f"{latitude:g}, {longitude:g}"
        for latitude, longitude in zip(
            read.loc[unnamed, "latitude"].round(4),
            (read.loc[unnamed, "longitude"] % 360).round(4),
            strict=True,
        )
    ]
    whole = (read["variable"] == _RAIN) & read["hours"].isna()
    day = read["time"].dt.floor("D")
    read = read.assign(
        hours=read["hours"].fillna(0.0).mask(whole, 24.0),
        time=read["time"].mask(whole, day + pd.Timedelta(days=1)),
        accepted=True,
        reason="",
    )
    totals = read.assign(day=day)[whole]
    different = totals.groupby(["station_id", "day"])["value"].transform("nunique")
    several = different.gt(1).reindex(read.index, fill_value=False)
    return left_out.keep(
        read,
        ~several,
        "several values at once",
        lambda row: (
            f"station {row['station_id']} has several values of precipitation on "
            f"{day[row.name]:%Y-%m-%d}; state the hours that each covers in a column hours"
        ),
    )
