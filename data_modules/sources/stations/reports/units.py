"""Units of reports: the conversions that the readers of fields use as well."""

from __future__ import annotations

from data_modules.sources.canonical.axes import LEVEL_FACTORS
from data_modules.sources.canonical.layouts import UNIT_CONVERSIONS, Unit
from slams.variables import UNITS

__all__ = ["conversion", "known_units", "level_factor"]


def conversion(units: str, variable: str) -> Unit | None:
    """Return the conversion from stated units to those of a variable, `None` if there is none.

    Args:
        units: Units as a file states them; "" for those of the variable.
        variable: Canonical name of the variable.
    """
    return UNIT_CONVERSIONS[UNITS[variable]].get(units) if units else Unit()


def known_units(variable: str) -> str:
    """Return units that a variable may have, for messages."""
    return ", ".join(UNIT_CONVERSIONS[UNITS[variable]])


def level_factor(units: str) -> float | None:
    """Return the factor from units of levels to hPa, `None` if there is none."""
    return LEVEL_FACTORS.get(units or "hPa")
