"""Units of reports: the conversions of `canonical.units`, applied to tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_modules.sources.canonical.units import Unit, conversion, examples
from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.sources.stations.reports.ranges import RANGES
from slams.errors import UserError
from slams.variables import UNITS

__all__ = [
    "MISTAKEN",
    "converted",
    "refuse_other_units",
]

_RAIN = "total_precipitation_24hr"
# Units that values out of range probably have, by canonical units.
MISTAKEN = {
    "K": "degC",
    "Pa": "hPa",
    "kg kg-1": "g kg-1",
    "W m-2": "J m-2",
    "mm day-1": "m",
    "m s-1": "knots",
}


def converted(read: pd.DataFrame, left_out: Accounting) -> pd.DataFrame:
    """Convert values and errors to the units of the long table.

    Args:
        read: Rows of a user's table, with `units`.
        left_out: Account of the rows that cannot be converted.
    """
    pairs = list(zip(read["variable"], read["units"], strict=True))
    found = {
        (name, units): conversion(units, UNITS[name]) if units else Unit()
        for name, units in dict.fromkeys(pairs)
    }
    read = left_out.keep(
        read,
        [found[pair] is not None for pair in pairs],
        "units unknown",
        lambda row: (
            f"row {row.name} has {row['variable']} in {row['units']!r}, expected "
            f"{UNITS[row['variable']]} (or {examples(UNITS[row['variable']])})"
        ),
    )
    pairs = zip(read["variable"], read["units"], strict=True)
    amount = np.array([found[pair].amount for pair in pairs], dtype=bool)
    read = left_out.keep(
        read,
        ~(amount & read["hours"].eq(0).to_numpy()),
        "amount without hours",
        lambda row: (
            f"row {row.name} has {row['variable']} in {row['units']!r}, an amount, without the "
            f"hours that it covers in a column hours"
        ),
    )
    value, error = read["value"].copy(), read["error"].copy()
    for (variable, units), rows in read.groupby(["variable", "units"]).groups.items():
        if not units:
            continue
        unit, factor = found[variable, units], pd.Series(1.0, index=rows)
        days = read.loc[rows, "hours"] / 24
        if variable == _RAIN and not unit.amount:
            factor = days  # the long table has the amount over the period
        elif unit.amount and variable != _RAIN:
            factor = 1.0 / days
        value[rows] = value[rows] * (unit.factor * factor) + unit.offset
        error[rows] = error[rows] * (unit.factor * factor)
    return read.assign(value=value, error=error)


def refuse_other_units(read: pd.DataFrame, where: str) -> None:
    """Refuse variables whose median is out of range; the quality control rejects single values.

    Args:
        read: The long table.
        where: Name of the table, for the message.

    Raises:
        UserError: The median of a variable is out of its range.
    """
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
