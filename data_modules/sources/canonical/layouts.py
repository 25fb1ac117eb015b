"""Layout of a variable in a file: its name, units, sign, and the time that a value covers.

A value is an instant, or it covers some hours: a mean or an accumulation, with a time stamp at
their start, middle or end. Its units distinguish the two: an amount (m, mm, J m-2) was accumulated
and is summed over a day, a rate (K, mm day-1, W m-2) is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_modules.sources.canonical.reading import Reading
from data_modules.sources.canonical.units import Unit, conversion, examples

__all__ = ["VariableLayout", "find_unit"]


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
    unit = conversion(str(name), target) if name else None
    if unit is None:
        raise reading.fault(
            f"{layout.name!r} has units {name!r}, expected {target} (or {examples(target)})"
        )
    return unit, str(name), note
