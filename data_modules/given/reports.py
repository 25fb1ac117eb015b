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
are instants. A row without a value is left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_modules.preparation.in_situ.daily import report_days
from data_modules.preparation.in_situ.quality import RANGES
from data_modules.sources.canonical.axes import LEVEL_FACTORS
from data_modules.sources.canonical.layouts import UNIT_CONVERSIONS
from data_modules.sources.stations.reports.table import COLUMNS, StationReports, checked_table
from data_modules.tables.columns import (
    LARGEST,
    check_rows,
    position_rules,
    refuse_missing,
    times_and_numbers,
)
from slams.errors import UserError, nearest
from slams.variables import ON_LEVELS, OTHER_NAMES, UNITS, find_variable

__all__ = ["HIGHEST_PRESSURE", "MISTAKEN", "days_of_table", "join_tables", "read_table"]

_REQUIRED = ("time", "latitude", "longitude", "variable", "value")
_NUMBERS = ("elevation", "level", "hours", "error")
_OPTIONAL = (*_NUMBERS, "station_id", "units", "level_units")
_RAIN = "total_precipitation_24hr"
# Two values of one station, time and variable contradict each other, whatever the position.
_IDENTITY = ("station_id", "time", "hours", "variable", "level")
# Above all pressures in the atmosphere (hPa).
HIGHEST_PRESSURE = 1100.0
# Units that values out of range probably have, by canonical units.
MISTAKEN = {
    "K": "degC",
    "Pa": "hPa",
    "kg kg-1": "g kg-1",
    "W m-2": "J m-2",
    "mm day-1": "m",
    "m s-1": "knots",
}


def read_table(table: pd.DataFrame, where: str) -> StationReports:
    """Convert a table of reports to the long table of `sources.stations.reports.table`.

    Args:
        table: Columns as above; other columns are ignored. A time in the index is found there.
        where: Name of the table, for messages.

    Returns:
        The reports, with a column `error` where the table has one, and the numbers of repairs.

    Raises:
        UserError: A column is missing, the table is empty, a time, number, position, variable,
            unit or error is invalid, values have other units than expected, or two different
            values of one station, time and variable exist.
    """
    table = _with_index(table)
    refuse_missing(table, _REQUIRED, _OPTIONAL, where)
    if table.empty:
        raise UserError(f"{where}: found a table without rows, expected at least one report")
    table = table.reset_index(drop=True)
    numbers = [name for name in _NUMBERS if name in table]
    read = times_and_numbers(table, ["latitude", "longitude", "value", *numbers], where)
    # Text columns with missing entries become empty text.
    for name in ("station_id", "units", "level_units"):
        text = table[name].astype("string").fillna("").str.strip() if name in table else ""
        read[name] = pd.Series(text, index=read.index, dtype=object)
    read["variable"] = _variables(table["variable"], where)
    read = read.assign(**{name: np.nan for name in _NUMBERS if name not in read})
    missing = int(read["value"].isna().sum())
    read = read[read["value"].notna()]
    if read.empty:
        raise UserError(f"{where}: found no report with a value, expected at least one")
    read["level"] = read["level"] * _level_factors(read["level_units"], where)
    _check(read, where)
    read = _complete(read, where)
    read["value"], read["error"] = _converted(read, where)
    _refuse_other_units(read, where)
    columns = [*COLUMNS, "error"] if "error" in numbers else list(COLUMNS)
    found, repairs = checked_table(
        read[columns], where, _IDENTITY, {"missing values left out": missing}
    )
    return StationReports(found, {}, {k: v for k, v in repairs.items() if v})


def days_of_table(table: pd.DataFrame, where: str) -> np.ndarray:
    """Return the UTC day that each row of a table belongs to, days since 1970-01-01.

    Args:
        table: As for `read_table`.
        where: Name of the table, for messages.

    Raises:
        UserError: A column is missing, the table is empty, or a time, period or variable is
            invalid.
    """
    table = _with_index(table)
    refuse_missing(table, _REQUIRED, _OPTIONAL, where)
    if table.empty:
        raise UserError(f"{where}: found a table without rows, expected at least one report")
    table = table.reset_index(drop=True)
    read = times_and_numbers(table, ["hours"] if "hours" in table else [], where)
    check_rows(read, {"time": (read["time"].notna(), "a time")}, where)
    # Only precipitation without a period is the total of the day of its time.
    hours = read["hours"] if "hours" in read else pd.Series(0.0, index=read.index)
    return report_days(read.assign(hours=hours.fillna(0.0))).to_numpy()


def join_tables(parts: Sequence[StationReports], where: str) -> StationReports:
    """Join several tables of reports into one.

    Args:
        parts: The tables, as `read_table` returns them.
        where: Name of all of them, for messages.

    Raises:
        UserError: They have different values of one station, time and variable.
    """
    if len(parts) == 1:
        return parts[0]
    repairs: dict[str, int] = {}
    for part in parts:
        for what, number in part.repairs.items():
            repairs[what] = repairs.get(what, 0) + number
    table = pd.concat([part.table for part in parts], ignore_index=True)
    table, repairs = checked_table(table, where, _IDENTITY, repairs)
    return StationReports(table, {}, repairs)


def _with_index(table: pd.DataFrame) -> pd.DataFrame:
    """Move required columns that are in the index, usually the time, to the columns."""
    known = (*_REQUIRED, *_OPTIONAL)
    names = [name for name in table.index.names if name in known and name not in table]
    return table.reset_index(names) if names else table


def _variables(names: pd.Series, where: str) -> pd.Series:
    """Return the canonical names of variables."""
    names = names.astype(object).map(str)
    found = {name: find_variable(name) for name in names.unique()}
    for name, variable in found.items():
        if variable is None:
            row = int(names.index[names == name][0])
            every = [*UNITS, *(short for shorts in OTHER_NAMES.values() for short in shorts)]
            hint = nearest(name, every)
            if not hint.startswith("did you mean"):
                hint = nearest(name, tuple(UNITS))
            raise UserError(f"{where}: row {row} has the unknown variable {name!r}; {hint}")
    return names.map(found)


def _level_factors(units: pd.Series, where: str) -> pd.Series:
    """Return the factors from the units of levels to hPa."""
    factors = units.replace("", "hPa").map(LEVEL_FACTORS)
    if factors.isna().any():
        row = int(units.index[factors.isna()][0])
        raise UserError(
            f"{where}: row {row} has a level in {units[row]!r}, expected one of "
            f"{', '.join(LEVEL_FACTORS)}"
        )
    return factors


def _check(read: pd.DataFrame, where: str) -> None:
    """Refuse rows whose position, level, period or error is out of range."""
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
    check_rows(read, rules, where)
    on_levels = read["variable"].isin(ON_LEVELS)
    wrong = read[on_levels == level.isna()]
    if wrong.empty:
        return
    row = wrong.iloc[0]
    what = f"{where}: row {row.name} has {row['variable']}"
    if pd.notna(row["level"]):
        raise UserError(f"{what} on level {row['level']:g}, expected no level for this variable")
    near = ", or name it 2m_temperature" if row["variable"] == "temperature" else ""
    raise UserError(f"{what} without a level; state it (hPa) in a column level{near}")


def _complete(read: pd.DataFrame, where: str) -> pd.DataFrame:
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
    several = totals.duplicated(["station_id", "day"]) & ~totals.duplicated(
        ["station_id", "day", "value"]
    )
    if several.any():
        row = totals[several].iloc[0]
        raise UserError(
            f"{where}: station {row['station_id']} has several values of precipitation on "
            f"{row['day']:%Y-%m-%d}; state the hours that each covers in a column hours"
        )
    return read


def _converted(read: pd.DataFrame, where: str) -> tuple[pd.Series, pd.Series]:
    """Return values and errors in the units of the long table."""
    value, error = read["value"].copy(), read["error"].copy()
    for (variable, units), rows in read.groupby(["variable", "units"]).groups.items():
        target = UNITS[variable]
        known = UNIT_CONVERSIONS[target]
        if not units:
            continue
        if units not in known:
            raise UserError(
                f"{where}: row {rows[0]} has {variable} in {units!r}, expected {target} (or one "
                f"of {', '.join(known)})"
            )
        unit, factor = known[units], pd.Series(1.0, index=rows)
        days = read.loc[rows, "hours"] / 24
        if variable == _RAIN and not unit.amount:
            factor = days  # the long table has the amount over the period
        elif unit.amount and variable != _RAIN:
            if (days == 0).any():
                raise UserError(
                    f"{where}: row {days.index[days == 0][0]} has {variable} in {units!r}, an "
                    f"amount, without the hours that it covers in a column hours"
                )
            factor = 1.0 / days
        value[rows] = value[rows] * (unit.factor * factor) + unit.offset
        error[rows] = error[rows] * (unit.factor * factor)
    return value, error


def _refuse_other_units(read: pd.DataFrame, where: str) -> None:
    """Refuse variables whose median is out of range; the quality control rejects single values."""
    for variable, values in read.groupby("variable")["value"]:
        low, high = RANGES[variable]
        middle = float(values.median())
        if not low <= middle <= high:
            units = UNITS[variable]
            raise UserError(
                f"{where}: the median of {variable} is {middle:g}, expected {low:g} to {high:g} "
                f"{'mm' if variable == _RAIN else units}; state other units in a column units, "
                f"such as {MISTAKEN[units]}"
            )
