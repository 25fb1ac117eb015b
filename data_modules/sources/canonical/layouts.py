"""Layout of a variable in a file: its name, units, sign, and the time that a value covers.

A value is an instant, or it covers some hours: a mean or an accumulation, with a time stamp at
their start, middle or end. Its units distinguish the two: an amount (m, mm, J m-2) was accumulated
and is summed over a day, a rate (K, mm day-1, W m-2) is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_modules.sources.canonical.reading import Reading

__all__ = ["UNIT_CONVERSIONS", "Unit", "VariableLayout", "find_unit"]


@dataclass(frozen=True)
class VariableLayout:
    """Layout of a variable in a file.

    Attributes:
        name: Its name in the file.
        units: Documented units, used where the file states none; "" where the layout does not
            define them.
        override: Whether `units` replace those that the file states.
        factor: Factor of values in addition to the conversion of units, -1 for a downward flux.
        hours: Hours that a value covers; 0 for an instant, `None` for the step of the time axis.
        stamp: Position of the time stamp in these hours: `start`, `middle` or `end`.
        fixed: `False` where the hours are unknown, so that an axis with several steps per day is
            ambiguous.
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
    """Conversion of a unit to the canonical one: `value * factor + offset`.

    Attributes:
        factor: Factor; for an amount, that of the accumulation over a day.
        offset: Offset in canonical units.
        amount: Whether a value is accumulated over the hours that it covers.
    """

    factor: float = 1.0
    offset: float = 0.0
    amount: bool = False


def _spelled(unit: Unit, *names: str) -> dict[str, Unit]:
    return dict.fromkeys(names, unit)


_DAY = 86400.0

# Conversions by canonical unit and spelling.
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
        # CF prescribes "1" for a ratio of masses.
        **_spelled(Unit(), "kg kg-1", "kg/kg", "kg kg**-1", "kg kg^-1", "1"),
        **_spelled(Unit(1e-3), "g kg-1", "g/kg", "g kg**-1", "grams/kg", "gram/kg"),
    },
}


def find_unit(
    found: str | None, layout: VariableLayout, target: str, reading: Reading
) -> tuple[Unit, str, str]:
    """Find the conversion from a variable's units to the canonical ones.

    Args:
        found: The units stated in the file, or `None`.
        layout: The variable's layout.
        target: The canonical units.
        reading: What is requested, for messages.

    Returns:
        The conversion, the spelling of the unit, and a note on its choice ("" if none).

    Raises:
        UserError: The units are stated neither in the file nor in the layout, or are unknown.
    """
    name, note = found, ""
    if layout.override and layout.units:
        name = layout.units
        if found != name:
            note = f"{layout.name}: units {found!r} replaced by {name} according to the recipe"
    elif not found and layout.units:
        name = layout.units
        note = f"{layout.name}: no units stated, {name} according to the layout's documentation"
    known = UNIT_CONVERSIONS[target]
    if name not in known:
        raise reading.fault(
            f"{layout.name!r} has units {name!r}, expected {target} (or one of {', '.join(known)})"
        )
    return known[name], name, note
