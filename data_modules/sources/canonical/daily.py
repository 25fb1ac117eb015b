"""From the time axis of a file to days: which steps make a day, and what was done to them.

Faults refused: steps that do not divide a day, a day with missing steps between others, an
accumulation over fewer hours than the axis steps by, instants without one at 00 UTC, values of
unknown hours at several steps a day, an axis that steps by more than a day. Days cut off at the
two ends are left out, and said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_modules.sources.canonical.layouts import Held
from slams.errors import UserError

__all__ = ["Days", "find_days_of"]

# From the start of what a value covers to its stamp, in shares of it.
_SHIFTS = {"start": 0.0, "middle": 0.5, "end": 1.0}
_NEAR = 1e-4  # days; 9 seconds, for axes in float32


@dataclass(frozen=True)
class Days:
    """Says which steps of a file make which day.

    Attributes:
        day: `(n,)` days since 1970-01-01, increasing.
        index: `(n, k)` positions on the sorted time axis of the steps of each day.
        how: `take` (k is 1), `mean` or `sum`.
        said: The convention in words.
        left_out: Days cut off at the ends of the axis, in words; "" for none.
    """

    day: np.ndarray
    index: np.ndarray
    how: str
    said: str
    left_out: str = ""


def find_days_of(
    time: np.ndarray, held: Held, amount: bool, daily: str, where: str, key: str, shown: str
) -> Days:
    """Find the steps of each day for one variable.

    Args:
        time: `(N,)` days since 1970-01-01 00 UTC, increasing.
        held: How the file holds the variable.
        amount: Its values are accumulated over their hours.
        daily: What a day of instants is: `instant` (00 UTC) or `mean`.
        where: The source, for messages.
        key: Its dotted key in the recipe, for messages.
        shown: The variable's canonical name, for messages.

    Raises:
        UserError: The axis is ambiguous or incomplete.
    """
    said = f"source {where}: {shown}"
    step = _step(time, said)
    if step > 1.0 - _NEAR:
        return _daily_axis(time, held, amount, said)
    if not held.fixed:
        raise UserError(
            f"{said} has a step every {step * 24:g} h, and whether its values are instants, means "
            f"or accumulations is not stated; say so with `hours` and `stamp` in "
            f"{key}.variables"
        )
    hours = step * 24 if held.hours is None else held.hours
    if hours == 0:
        if amount:
            raise UserError(
                f"{said} is an amount, and over which hours it was accumulated is not stated; say "
                f"so with `hours` in {key}.variables"
            )
        if daily == "instant":
            return _midnights(time, said)
        return _group(time, step, "mean", f"mean of {round(1 / step)} instants a day", said)
    return _covered(time, step, hours, held, amount, said)


def _step(time: np.ndarray, said: str) -> float:
    if len(time) < 2:
        return 1.0
    step = float(np.diff(time).min())
    if step > 1.5 and len(time) > 2:
        raise UserError(
            f"{said} has a step every {step:g} days, expected daily values or more frequent ones"
        )
    if step > 1.0 - _NEAR:
        return step
    count = round(1.0 / step)
    if abs(count * step - 1.0) > _NEAR * count:
        raise UserError(f"{said} has steps of {step * 24:g} h, which do not divide a day")
    return 1.0 / count


def _daily_axis(time: np.ndarray, held: Held, amount: bool, said: str) -> Days:
    day = np.floor(time + _NEAR)
    hour = (time - day) * 24
    if np.ptp(hour) > 24 * _NEAR:
        raise UserError(
            f"{said} is daily, but its stamps lie at different hours, from {hour.min():g} to "
            f"{hour.max():g} UTC"
        )
    at = f"{_clock(float(hour[0]))} UTC"
    covers = held.hours == 24 or (held.hours is None and held.fixed)
    index = np.arange(len(time))[:, None]
    if covers:
        start = time - _SHIFTS[held.stamp]
        if (np.abs(start - np.round(start)) > _NEAR).any():
            raise UserError(
                f"{said} covers 24 h with the stamp {at} at their {held.stamp}, which is no UTC "
                f"day; expected days from 00 UTC to 00 UTC"
            )
        text = f"{_kind(amount)} of the UTC day"
        return Days(np.round(start), index, "take", text)
    if held.hours not in (0, 24, None) and not (amount and held.hours == 0):
        raise UserError(
            f"{said} covers {held.hours:g} h at one step a day; the rest of the day is not there"
        )
    if amount:
        return Days(day, index, "take", f"{_kind(amount)} of the day, stamped at {at}")
    if held.fixed:
        return Days(day, index, "take", f"instant at {at}")
    return Days(day, index, "take", f"one value a day, stamped at {at}")


def _midnights(time: np.ndarray, said: str) -> Days:
    index = np.flatnonzero(np.abs(time - np.round(time)) < _NEAR)
    if not len(index):
        hours = sorted({round(float(h), 2) for h in (time % 1.0) * 24})
        raise UserError(
            f"{said} has no step at 00 UTC, but at {', '.join(f'{h:g}' for h in hours[:8])} UTC; "
            f"take daily means with `daily: mean`"
        )
    return Days(np.round(time[index]), index[:, None], "take", "instant at 00 UTC")


def _covered(
    time: np.ndarray, step: float, hours: float, held: Held, amount: bool, said: str
) -> Days:
    """Put values that cover some hours together to the UTC day that they lie in."""
    if hours < step * 24 - _NEAR:
        raise UserError(
            f"{said} covers {hours:g} h at steps of {step * 24:g} h; the rest of the day is not "
            f"there"
        )
    if abs(round(24 / hours) * hours - 24) > 1e-6:
        raise UserError(f"{said} covers {hours:g} h, which do not divide a day")
    start = time - _SHIFTS[held.stamp] * hours / 24
    # Of values that overlap, those that follow one another from 00 UTC on.
    slot = start * 24 / hours
    keep = np.flatnonzero(np.abs(slot - np.round(slot)) < _NEAR * 24 / hours)
    count = round(24 / hours)
    how = "sum" if amount else "mean"
    text = f"{_kind(amount)} of the UTC day"
    if count > 1:
        text += f", {'sum' if amount else 'mean'} of {count} values over {hours:g} h"
    days = _group(np.round(slot[keep]) / count, 1.0 / count, how, text, said)
    return Days(
        days.day, keep[days.index], "take" if count == 1 else how, text, left_out=days.left_out
    )


def _group(start: np.ndarray, step: float, how: str, text: str, said: str) -> Days:
    """Group steps by the day in which they start; every day between others has to be whole."""
    count = round(1.0 / step)
    day = np.floor(start + _NEAR)
    days, first, found = np.unique(day, return_index=True, return_counts=True)
    whole = found == count
    if not whole.any():
        raise UserError(f"{said} has no day with all its {count} steps")
    # Only the first day and the last may be cut off, from the outside.
    slot = np.round((start - day) * count).astype(np.int64)
    whole_or_cut = whole.copy()
    whole_or_cut[0] |= slot[0] + found[0] == count
    whole_or_cut[-1] |= slot[-1] + 1 == found[-1]
    if not whole_or_cut.all():
        one = int(np.flatnonzero(~whole_or_cut)[0])
        date = np.datetime64(int(days[one]), "D")
        raise UserError(
            f"{said} of {date} has {found[one]} of its {count} steps; complete the source, or "
            f"take other days with data.period"
        )
    cut = int((~whole).sum())
    left_out = f"{cut} incomplete day{'s' if cut > 1 else ''} at the ends" if cut else ""
    index = first[whole][:, None] + np.arange(count)
    return Days(days[whole], index, how, text, left_out)


def _clock(hour: float) -> str:
    minutes = round(hour * 60)
    return f"{minutes // 60:02d}" + (f":{minutes % 60:02d}" if minutes % 60 else "")


def _kind(amount: bool) -> str:
    return "total" if amount else "mean"
