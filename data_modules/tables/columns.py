"""Columns of a table of reports: names, times, numbers, and rows that are out of range.

Times are ISO dates or instants, in UTC unless they have an offset. Each check refuses the first
row that does not fit, in one sentence.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from slams.errors import UserError

__all__ = ["LARGEST", "check_rows", "position_rules", "refuse_missing", "times_and_numbers"]

# The square of larger numbers, or of errors below its reciprocal, is out of single precision.
LARGEST = 1e15
# Bounds of the positions (degrees).
_POSITION = {"latitude": (-90, 90), "longitude": (-180, 360)}


def refuse_missing(
    table: pd.DataFrame, required: Sequence[str], optional: Sequence[str], where: str
) -> None:
    """Refuse a table that lacks a column, or has one twice.

    Args:
        table: The table.
        required: Columns that it must have.
        optional: Columns that it may have, for the message.
        where: Name of the table, for the message.

    Raises:
        UserError: A column is missing; the message lists those found, and the most similar one.
            Or a column occurs twice.
    """
    found = [str(name) for name in table.columns]
    for name in (*required, *optional):
        if found.count(name) > 1:
            raise UserError(
                f"{where}: column {name!r} occurs {found.count(name)} times, expected one"
            )
    for name in required:
        if name in table:
            continue
        others = [other for other in found if other not in (*required, *optional)]
        close = difflib.get_close_matches(name, others, n=1, cutoff=0.5)
        hint = f"; rename {close[0]!r} to {name!r}" if close else ""
        raise UserError(
            f"{where}: column {name!r} is missing; expected {', '.join(required)} and "
            f"optionally {', '.join(optional)}, found {', '.join(found[:8]) or 'none'}{hint}"
        )


def times_and_numbers(table: pd.DataFrame, numbers: Sequence[str], where: str) -> pd.DataFrame:
    """Convert the column `time` to UTC, and other columns to numbers.

    Args:
        table: A table with these columns.
        numbers: Columns with numbers.
        where: Name of the table, for messages.

    Returns:
        `time` (datetime64[ns], UTC without time zone) and the numbers (float64), same index.

    Raises:
        UserError: Times are numbers, or a time or a number is other text.
    """
    if pd.api.types.is_numeric_dtype(table["time"]):
        raise UserError(
            f"{where}: found the number {table['time'].iloc[0]} in column 'time', expected dates "
            f"such as 2001-03-28 or 2001-03-28T06:00"
        )
    try:
        time = pd.to_datetime(table["time"], utc=True, format="ISO8601").dt.tz_localize(None)
        time = time.astype("datetime64[ns]")  # dates outside 1678 to 2262 are refused
        converted = {
            name: pd.to_numeric(table[name]).to_numpy(np.float64, na_value=np.nan)
            for name in numbers
        }
    except (ValueError, TypeError) as reason:
        first = str(reason).splitlines()[0]
        raise UserError(
            f"{where}: expected times and numbers, found other text ({first})"
        ) from None
    return pd.DataFrame({"time": time, **converted}, index=table.index)


def check_rows(
    table: pd.DataFrame, rules: Mapping[str, tuple[pd.Series, str]], where: str
) -> None:
    """Refuse the first row that does not fit a rule.

    Args:
        table: The table, whose index numbers the rows.
        rules: By column, which rows fit, and a description of what is expected.
        where: Name of the table, for the message.

    Raises:
        UserError: A row does not fit.
    """
    for name, (fits, expected) in rules.items():
        if not fits.all():
            number = int(table.index[~fits][0])
            raise UserError(
                f"{where}: row {number} has {name} {table[name][number]}, expected {expected}"
            )


def position_rules(table: pd.DataFrame) -> dict[str, tuple[pd.Series, str]]:
    """Return the rules of `check_rows` for times, positions and values."""
    return {
        "time": (table["time"].notna(), "a time"),
        **{
            name: (table[name].between(low, high), f"within [{low}, {high}]")
            for name, (low, high) in _POSITION.items()
        },
        "value": (table["value"].abs() < LARGEST, "a finite number"),
    }
