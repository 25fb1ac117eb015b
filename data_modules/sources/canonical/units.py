"""Units as files spell them, and their conversion to the units of `slams.variables`.

Every reader, of fields and of reports, converts through this module, and it through pint: what
pint knows under any name, with any prefix, is read if it has the right dimension. Before that,
spellings of udunits and of archives are brought to pint's (`W m-2`, `W/m2`, `deg_C`, `Pascals`,
and `mb`, which pint takes for a millibarn).

Depths of water and masses of it per area are the same quantity, at 1000 kg m-3. An amount (mm,
kg m-2, J m-2) was accumulated over hours; a rate (mm day-1, kg m-2 s-1, W m-2) was not.

Not converted, because the dimension alone would let them pass: values per solid angle, fractions
and percentages, differences of temperature, and units with a number in front.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pint

__all__ = ["Unit", "conversion", "examples", "level_factor", "same_units"]

_DAY = 86400.0
_WATER = 1000.0  # kg m-3
_LONGEST = 60  # letters; longer text is no unit
# Canonical units as pint spells them, and those of the amount that gathers in a day; "" for none.
_TARGETS = {
    "K": ("kelvin", ""),
    "mm day-1": ("millimeter / day", "millimeter"),
    "W m-2": ("watt / meter ** 2", "joule / meter ** 2"),
    "Pa": ("pascal", ""),
    "hPa": ("hectopascal", ""),
    "m s-1": ("meter / second", ""),
    "kg kg-1": ("kilogram / kilogram", ""),
}
_EXAMPLES = {
    "K": "degC",
    "mm day-1": "mm, m, kg m-2 s-1, mm h-1",
    "W m-2": "J m-2",
    "Pa": "hPa",
    "hPa": "Pa, millibar",
    "m s-1": "knots",
    "kg kg-1": "1, g kg-1",
}
# Seconds of the canonical amount's day in the canonical rate, by canonical units.
_PER_DAY = {"mm day-1": 1.0, "W m-2": 1.0 / _DAY}
# Whole names that pint does not know, or takes for something else.
_NAMES = {
    "C": "degC",  # a coulomb in pint
    "1": "kilogram / kilogram",  # CF prescribes "1" for a ratio of masses
    "m of water equivalent": "meter",
    "m of water": "meter",
}
_WORDS = {
    "mb": "millibar",  # a millibarn in pint
    "hpa": "hectopascal",
}
_DEGREES = re.compile(r"\bdeg(?:rees?)?[\s_]*([CKF])(?:elsius|elvin|ahrenheit)?\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:_[^\W\d_]+)*")
_POWER = re.compile(r"(?<=[^\W\d_])(?:\^|\*\*)?([+-]?\d)\b")
# pint works out powers of numbers, however large.
_POWER_OF_NUMBER = re.compile(r"[\d)]\s*(?:\^|\*\*)")


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


@cache
def conversion(units: str, target: str) -> Unit | None:
    """Return the conversion of units to canonical ones, `None` if they are no such units.

    Args:
        units: Units as a file states them.
        target: The canonical units, such as `W m-2`.
    """
    found = _parsed(units)
    if found is None:
        return None
    rate, amount = _TARGETS[target]
    unit = _to(found, rate)
    if unit is None and amount:
        unit = _to(found, amount)
        unit = unit and Unit(unit.factor * _PER_DAY[target], amount=True)
    return unit


def examples(target: str) -> str:
    """Return some units that convert to canonical ones, for messages."""
    return _EXAMPLES[target]


def level_factor(units: str) -> float | None:
    """Return the factor from units of levels to hPa, `None` if there is none."""
    unit = conversion(units, "hPa") if units else Unit()
    return None if unit is None else unit.factor


def same_units(one: str | None, other: str | None) -> bool:
    """Return whether two spellings are of one unit."""
    if one == other:
        return True
    first, second = (_parsed(text) if text else None for text in (one, other))
    return first is not None and first == second


@cache
def _registry() -> pint.UnitRegistry:
    import pint  # takes 0.3 s, which a run that reads no source need not spend

    registry = pint.UnitRegistry(autoconvert_offset_to_baseunit=False)
    water = pint.Context("water")
    for per in ("", "/[time]"):
        mass, depth = f"[mass]/[length]**2{per}", f"[length]{per}"
        density = registry.Quantity(_WATER, "kg/m**3")
        water.add_transformation(mass, depth, lambda _, value, density=density: value / density)
    registry.add_context(water)
    return registry


def _spelled(units: str) -> str:
    """Return units in the spelling of pint."""
    text = " ".join(units.split())
    if text in _NAMES:
        return _NAMES[text]
    text = _DEGREES.sub(lambda found: f"deg{found[1].upper()}", text)
    text = _POWER.sub(r"**\1", text)
    return _WORD.sub(lambda found: _word(found[0]), text)


def _word(word: str) -> str:
    if word in _WORDS:
        return _WORDS[word]
    # Long names are spelled with capitals and without; symbols differ by them (`mW` and `MW`).
    if word not in _registry() and len(word) > 3 and word.lower() in _registry():
        return word.lower()
    return word


@cache
def _parsed(units: str) -> pint.Unit | None:
    """Return the unit, `None` if it is unknown or could be mistaken for another quantity."""
    if _POWER_OF_NUMBER.search(units) or len(units) > _LONGEST:
        return None
    try:
        found = _registry().parse_expression(_spelled(units))
        one, unit = found.magnitude, found.units
        names = list(dict(unit._units))
    except Exception:  # pint has no common class of errors for text that is no unit
        return None
    if one != 1 or any(name.startswith("delta_") for name in names):
        return None
    if any(not _registry().get_dimensionality(name) for name in names):
        return None  # percent, steradian, degree
    return unit


def _to(unit: Any, target: str) -> Unit | None:
    """Return the conversion of a unit of pint, `None` if it is of another dimension."""
    registry = _registry()
    try:
        zero = registry.Quantity(0.0, unit).to(target, "water").magnitude
        one = registry.Quantity(1.0, unit).to(target, "water").magnitude
    except Exception:  # as above
        return None
    # Without the noise of binary fractions: a step of one degree Celsius is 1 K.
    return Unit(float(f"{one - zero:.14g}"), float(f"{zero:.14g}"))
