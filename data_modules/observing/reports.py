"""Reports of an instrument read from a table: one row per position and day.

Columns::

    time        instant (ISO, UTC unless it has an offset); only its UTC day is used, or the step
                that it is within half a step of, where steps are shorter than a day
    latitude    degrees north
    longitude   degrees east in [-180, 360]; -10 and 350 are the same
    value       units of the instrument's operator
    error       standard deviation of the observation error, same units; optional

A missing report has no row, or no value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_modules.tables.columns import (
    LARGEST,
    check_rows,
    position_rules,
    refuse_missing,
    times_and_numbers,
)
from data_modules.tables.opening import open_table
from slams.calendar.days import days_since_epoch, iso_date
from slams.calendar.steps import beginning_of_step, describe_step, nearest_step
from slams.errors import UserError

__all__ = ["Reports", "read_reports"]

_REQUIRED = ("time", "latitude", "longitude", "value")
# Decimals (degrees) to which positions are rounded before they are compared.
_DIGITS = 5


@dataclass(frozen=True)
class Reports:
    """Reports of an instrument at `P` positions.

    Attributes:
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east.
        days: `(N,)` days since 1970-01-01, or the times of their steps, increasing.
        values: `(N, P)` units of the operator, NaN where there is no report.
        errors: `(N, P)` standard deviations of the observation error.
        step: Length of a step (days).
    """

    latitude: np.ndarray
    longitude: np.ndarray
    days: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    step: float = 1.0

    def of_days(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values and errors at given steps, `(..., P)` each, NaN where there is no report.

        Args:
            time: `(...)` days since 1970-01-01 00 UTC; the time within a step does not matter.
        """
        day = beginning_of_step(time, self.step)
        place = np.searchsorted(self.days, day).clip(max=len(self.days) - 1)
        there = (self.days[place] == day)[..., None]
        return (np.where(there, x[place], np.nan) for x in (self.values, self.errors))


def read_reports(path: str | Path, key: str, error: float, step: float = 1.0) -> Reports:
    """Read the reports of an instrument.

    Args:
        path: CSV or Parquet file.
        key: The recipe's key that names the file, for messages.
        error: Standard deviation where the file has none (units of the operator).
        step: Length of a step (days).

    Raises:
        UserError: The file is missing or is not such a table, or one of its rows is invalid.
    """
    table = open_table(path, f"key {key!r}").reset_index(drop=True)
    where = f"key {key!r}: {path}"
    refuse_missing(table, _REQUIRED, ("error",), where)
    if "error" not in table:
        table = table.assign(error=error)
    table = times_and_numbers(table, ["latitude", "longitude", "value", "error"], where)
    table["error"] = table["error"].fillna(error)
    table = table[table["value"].notna()]
    if table.empty:
        raise UserError(f"{where}: found no report with a value, expected at least one")
    fits = table["error"].between(1 / LARGEST, LARGEST)
    rules = position_rules(table) | {"error": (fits, "a positive finite number")}
    check_rows(table, rules, where)
    day = days_since_epoch(table["time"])
    table = table.assign(day=np.floor(day) if step == 1 else nearest_step(day, step))
    table["longitude"] = table["longitude"] % 360
    table[["latitude", "longitude"]] = table[["latitude", "longitude"]].round(_DIGITS)
    twice = table.duplicated(["day", "latitude", "longitude"])
    if twice.any():
        row = table[twice].iloc[0]
        raise UserError(
            f"{where}: found two reports at {row.latitude:g}, {row.longitude:g} on "
            f"{iso_date(row.day)}, expected one per position and "
            f"{'UTC day' if step == 1 else f'step of {describe_step(step)}'}"
        )
    values, errors = (
        table.pivot(index="day", columns=["latitude", "longitude"], values=name).sort_index(axis=1)
        for name in ("value", "error")
    )
    return Reports(
        latitude=values.columns.get_level_values("latitude").to_numpy(),
        longitude=values.columns.get_level_values("longitude").to_numpy(),
        days=values.index.to_numpy(),
        values=values.to_numpy(),
        errors=errors.to_numpy(),
        step=step,
    )
