"""Tables of reports that a user gives: the days that they are of, and several tables as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_modules.preparation.in_situ.steps import step_of_reports
from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.sources.stations.reports.table import StationReports, checked_table
from data_modules.sources.stations.reports.user_table import (
    IDENTITY,
    OPTIONAL,
    REQUIRED,
    with_index,
)
from data_modules.store.steps import DAYS, Steps
from data_modules.tables.columns import check_rows, refuse_missing, times_and_numbers
from slams.errors import UserError
from slams.variables import find_variable

__all__ = ["days_of_table", "join_tables"]


def days_of_table(table: pd.DataFrame, where: str, steps: Steps = DAYS) -> np.ndarray:
    """Return the UTC day, or step, that each row of a table belongs to, days since 1970-01-01.

    Args:
        table: Columns of `sources.stations.reports.user_table`.
        where: Name of the table, for messages.
        steps: The steps.

    Raises:
        UserError: A column is missing, the table is empty, or a time, period or variable is
            invalid.
    """
    table = with_index(table)
    refuse_missing(table, REQUIRED, OPTIONAL, where)
    if table.empty:
        raise UserError(f"{where}: found a table without rows, expected at least one report")
    table = table.reset_index(drop=True)
    read = times_and_numbers(table, ["hours"] if "hours" in table else [], where)
    check_rows(read, {"time": (read["time"].notna(), "a time")}, where)
    # Only precipitation without a period is the total of the day of its time.
    hours = read["hours"] if "hours" in read else pd.Series(0.0, index=read.index)
    read = read.assign(hours=hours.fillna(0.0))
    if steps.length < 1:
        read["variable"] = (
            table["variable"].astype(str).map(lambda name: find_variable(name) or "")
        )
    return step_of_reports(read, steps).to_numpy()


def join_tables(parts: Sequence[StationReports], where: str) -> StationReports:
    """Join several tables of reports into one.

    Args:
        parts: The tables, as `user_table.read_table` returns them.
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
    table, repairs = checked_table(table, IDENTITY, repairs, Accounting(where))
    return StationReports(table, {}, repairs)
