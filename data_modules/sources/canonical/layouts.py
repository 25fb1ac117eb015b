"""How a public layout holds a variable: its name, units, sign, and the time that a value covers.

A value is an instant, or it covers some hours: a mean or an accumulation, with a stamp at the
end, the start or the middle of them. Which of the two follows from its units: an amount (m, mm,
J m-2) was accumulated and is added up over a day, a rate (K, mm day-1, W m-2) is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

from slams.errors import UserError

__all__ = ["UNIT_CONVERSIONS", "Held", "Unit", "find_unit"]

STAMPS = ("start", "middle", "end")


@dataclass(frozen=True)
class Held:
    """Describes a variable as a file holds it.

    Attributes:
        name: Its name in the file.
        units: Units that the layout documents, taken where the file states none; "" where the
            layout leaves them to the file.
        override: `units` hold whatever the file states.
        factor: What values are multiplied by beside their units, -1 for a downward flux.
        hours: Hours that a value covers; 0 for an instant, `None` for the step of the time axis.
        stamp: Where the time stamp lies in these hours: `start`, `middle` or `end`.
        fixed: `False` where nothing is known of the hours, so that an axis with several steps a
            day is ambiguous.
    """

    name: str
    units: str = ""
    override: bool = False
    factor: float = 1.0
    hours: float | None = 0.0
    stamp: str = "start"
    fixed: bool = True


@dataclass(frozen=True)
class Unit:
    """Leads from one spelling of a unit to the canonical one: `value * factor + offset`.

    Attributes:
        factor: For an amount, of what was accumulated in a day.
        offset: In canonical units.
        amount: Accumulated over the hours that a value covers.
    """

    factor: float = 1.0
    offset: float = 0.0
    amount: bool = False


def _spelled(unit: Unit, *names: str) -> dict[str, Unit]:
    return dict.fromkeys(names, unit)


_DAY = 86400.0

# Canonical units: spellings and what leads from them.
UNIT_CONVERSIONS: dict[str, dict[str, Unit]] = {
    "K": {
        **_spelled(Unit(), "K", "degK", "kelvin", "Kelvin", "degrees K", "Degrees_K", "deg_K"),
        **_spelled(Unit(offset=273.15), "degC", "C", "celsius", "Celsius", "deg C", "°C"),
    },
    "mm day-1": {
        **_spelled(Unit(), "mm day-1", "mm/day", "mm d-1", "kg m-2 day-1"),
        **_spelled(Unit(amount=True), "mm", "kg m-2", "kg m**-2", "kg/m^2"),
        **_spelled(Unit(1000.0), "m day-1", "m/day"),
        **_spelled(Unit(1000.0, amount=True), "m", "m of water equivalent"),
        **_spelled(Unit(_DAY), "kg m-2 s-1", "kg m**-2 s**-1", "kg/m^2/s", "mm s-1", "mm/s"),
        **_spelled(Unit(24.0), "mm hr-1", "mm/hr", "mm h-1", "mm/h", "mm/hour"),
    },
    "W m-2": {
        **_spelled(Unit(), "W m-2", "W/m^2", "W/m2", "W m**-2", "W m^-2"),
        **_spelled(Unit(1.0 / _DAY, amount=True), "J m-2", "J m**-2", "J/m^2", "J/m2"),
    },
    "Pa": {
        **_spelled(Unit(), "Pa", "Pascal", "Pascals"),
        **_spelled(Unit(100.0), "hPa", "mb", "mbar", "millibar", "millibars"),
    },
    "m s-1": {
        **_spelled(Unit(), "m s-1", "m/s", "m s**-1", "m s^-1", "m/sec", "meter second-1"),
        **_spelled(Unit(1852.0 / 3600.0), "knot", "knots", "kt"),
    },
    "kg kg-1": {
        # "1" is what CF prescribes for a ratio of masses.
        **_spelled(Unit(), "kg kg-1", "kg/kg", "kg kg**-1", "kg kg^-1", "1"),
        **_spelled(Unit(1e-3), "g kg-1", "g/kg", "g kg**-1", "grams/kg", "gram/kg"),
    },
}


def find_unit(found: str | None, held: Held, target: str, where: str) -> tuple[Unit, str, str]:
    """Find what leads from a variable's units to the canonical ones.

    Args:
        found: The units that the file states, or `None`.
        held: What the layout documents.
        target: The canonical units.
        where: The source, for messages.

    Returns:
        The unit, its spelling, and what had to be decided about it ("" for nothing).

    Raises:
        UserError: Nobody states the units, or they are unknown.
    """
    name, said = found, ""
    if held.override and held.units:
        name = held.units
        if found != name:
            said = f"{held.name}: units {found!r} replaced by {name} as the recipe says"
    elif not found and held.units:
        name = held.units
        said = f"{held.name}: no units stated, {name} as documented of the layout"
    known = UNIT_CONVERSIONS[target]
    if name not in known:
        raise UserError(
            f"source {where}: {held.name!r} has units {name!r}, expected {target} (or one of "
            f"{', '.join(known)})"
        )
    return known[name], name, said
