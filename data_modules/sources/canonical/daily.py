"""The time axis of a file, and the grouping of its steps into the steps of a store.

Of the axis, dates that cannot be decoded, no date at all, duplicate dates, and calendars whose
dates are not Gregorian dates (`360_day`, `all_leap`, `julian`) are refused. A calendar without
leap days is accepted: its dates exist, and the missing 29 February is recorded.

A step of the store is a UTC day, or a part of it (`slams.calendar.steps`): an instant is taken at
its time, a mean or a total is that of the values within `[t, t + step)`.

Of the steps, refused are those of a file that do not divide a day, or are longer than the store's;
one of the store between others for which values are missing; an accumulation over fewer hours than
the file's step, or over more than the store's; instants without one at the time of a step; several
steps per day whose values cover unknown hours; and steps of more than a day. Incomplete steps at
the two ends are left out and recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.precision import full_hours
from data_modules.sources.canonical.reading import Reading
from slams.calendar.days import days_since_epoch, iso_date
from slams.calendar.steps import beginning_of_step, clock_of_steps, describe_step, steps_per_day
from slams.errors import UserError

__all__ = ["Days", "decode_days", "find_days_of"]

_REAL = ("standard", "gregorian", "proleptic_gregorian")
_WITHOUT_LEAP_DAYS = ("noleap", "365_day")
# Time from the start of the interval that a value covers to its stamp, as a fraction of it.
_SHIFTS = {"start": 0.0, "middle": 0.5, "end": 1.0}
_NEAR = 1e-4  # days; 9 seconds, for axes in float32


@dataclass(frozen=True)
class Days:
    """The steps of a file that make up each step of the store.

    Attributes:
        day: `(n,)` times of the store's steps, days since 1970-01-01, increasing; whole numbers
            for steps of a day.
        index: `(n, k)` positions on the sorted time axis of the steps of each of them.
        how: `take` (k is 1), `mean` or `sum`.
        note: Description of the convention.
        left_out: Description of incomplete steps at the ends of the axis; "" if there are none.
    """

    day: np.ndarray
    index: np.ndarray
    how: str
    note: str
    left_out: str = ""


def decode_days(dataset: xr.Dataset, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """Read the time axis.

    Args:
        dataset: Dataset with the decoded dimension `time`.
        reading: What is requested; repairs are recorded.

    Returns:
        Days since 1970-01-01 00 UTC, increasing, and the position of each day in the file.

    Raises:
        UserError: See the faults above.
    """
    if "time" not in dataset.coords:
        raise reading.fault("coordinate 'time' has no values")
    times = dataset["time"].values
    first = times.flat[0] if times.size else None
    calendar = dataset["time"].encoding.get("calendar") or getattr(first, "calendar", "standard")
    calendar = str(calendar).lower()
    if calendar in _WITHOUT_LEAP_DAYS:
        reading.repairs.append(f"time: calendar {calendar}, there is no 29 February")
    elif calendar not in _REAL:
        raise reading.fault(
            f"time has the calendar {calendar!r}, whose dates are not Gregorian; "
            f"expected {', '.join((*_REAL, *_WITHOUT_LEAP_DAYS))}"
        )
    if times.dtype == object:  # cftime, for calendars or epochs that numpy cannot hold
        times = np.array([np.datetime64(t.isoformat()) for t in times])
    if not np.issubdtype(times.dtype, np.datetime64):
        raise reading.fault(
            f"time could not be decoded into dates; its units are "
            f"{dataset['time'].attrs.get('units')!r}, expected such as 'hours since 1900-01-01'"
        )
    if np.isnat(times).any():
        raise reading.fault("time could not be decoded into dates; a value is missing")
    if len(times) == 0:
        raise reading.fault("found no dates")
    days = full_hours(days_since_epoch(times), dataset["time"], reading)
    order = np.argsort(days, kind="stable")
    twice = np.flatnonzero(np.diff(days[order]) == 0)
    if len(twice):
        date = np.datetime_as_string(times[order][twice[0]], unit="s")
        raise reading.fault(
            f"{date} occurs more than once ({len(twice)} duplicates in all); remove the duplicates"
        )
    if not np.array_equal(order, np.arange(len(days))):
        reading.repairs.append("time: unordered dates sorted")
    return days[order], order


def find_days_of(
    time: np.ndarray, layout: VariableLayout, amount: bool, variable: str, reading: Reading
) -> Days:
    """Group the time steps of one variable into the steps of the store, `reading.step`.

    Args:
        time: `(N,)` days since 1970-01-01 00 UTC, increasing.
        layout: Layout of the variable in the file.
        amount: Whether its values are accumulated over their hours.
        variable: Its canonical name, for messages.
        reading: What is requested.

    Raises:
        UserError: The axis is ambiguous or incomplete.
    """
    name, key = f"{reading.name}: {variable}", reading.key
    target = reading.step
    step = _step(time, name, target)
    if step > target + _NEAR and target < 1:
        raise UserError(
            f"{name} has a step every {step * 24:g} h, longer than data.step, "
            f"{describe_step(target)}; expected a source with values at least as often, or set "
            f"data.step to {step * 24:g}h"
        )
    if step > 1.0 - _NEAR:
        return _daily_axis(time, layout, amount, name)
    if not layout.fixed and len(time) == 1:  # one state that a user gives
        return _instants(time, target, name)
    if not layout.fixed:
        raise UserError(
            f"{name} has a step every {step * 24:g} h, but does not state whether its values are "
            f"instants, means or accumulations; set `hours` and `stamp` in {key}.variables"
        )
    hours = step * 24 if layout.hours is None else layout.hours
    if hours == 0:
        if amount:
            raise UserError(
                f"{name} is an amount, but does not state the hours over which it was "
                f"accumulated; set `hours` in {key}.variables"
            )
        if reading.config.daily == "instant":
            return _instants(time, target, name)
        count = round(target / step)
        text = f"mean of {count} instants per {_unit(target)}"
        return _group(time, step, "mean", text, name, target)
    return _covered(time, step, hours, layout, amount, name, target)


def _step(time: np.ndarray, name: str, target: float) -> float:
    if len(time) < 2:
        return target
    step = float(np.diff(time).min())
    if step > 1.5 and len(time) > 2:
        raise UserError(
            f"{name} has a step every {step:g} days, expected daily or more frequent values"
        )
    if step > 1.0 - _NEAR:
        return step
    count = round(1.0 / step)
    if abs(count * step - 1.0) > _NEAR * count:
        raise UserError(f"{name} has steps of {step * 24:g} h, which do not divide a day")
    return 1.0 / count


def _daily_axis(time: np.ndarray, layout: VariableLayout, amount: bool, name: str) -> Days:
    day = np.floor(time + _NEAR)
    hour = (time - day) * 24
    if np.ptp(hour) > 24 * _NEAR:
        raise UserError(
            f"{name} is daily, but its time stamps are at different hours, from {hour.min():g} to "
            f"{hour.max():g} UTC"
        )
    at = f"{_clock(float(hour[0]))} UTC"
    covers = layout.hours == 24 or (layout.hours is None and layout.fixed)
    index = np.arange(len(time))[:, None]
    if covers:
        start = time - _SHIFTS[layout.stamp]
        if (np.abs(start - np.round(start)) > _NEAR).any():
            raise UserError(
                f"{name} covers 24 h with the stamp {at} at their {layout.stamp}, which is not a "
                f"UTC day; expected days from 00 UTC to 00 UTC"
            )
        return Days(np.round(start), index, "take", f"{_kind(amount)} of the UTC day")
    if layout.hours not in (0, 24, None) and not (amount and layout.hours == 0):
        raise UserError(
            f"{name} covers {layout.hours:g} h at one step per day; the rest of the day is missing"
        )
    note = f"instant at {at}" if layout.fixed else f"one value per day, stamped at {at}"
    if amount:
        note = f"{_kind(amount)} of the day, stamped at {at}"
    return Days(day, index, "take", note)


def _instants(time: np.ndarray, target: float, name: str) -> Days:
    """Take the instants at the times of the store's steps: 00 UTC for a day."""
    count = steps_per_day(target)
    near = np.round(time * count)
    index = np.flatnonzero(np.abs(time - near / count) < _NEAR)
    clock = clock_of_steps(target)
    if not len(index):
        hours = sorted({round(float(h), 2) for h in (time % 1.0) * 24})
        if len(time) == 1:
            raise UserError(
                f"{name} is of {hours[0]:g} UTC, expected one of {clock} UTC, the steps"
            )
        means = "daily means" if target == 1 else "means"
        raise UserError(
            f"{name} has no step at {clock} UTC, but at "
            f"{', '.join(f'{h:g}' for h in hours[:8])} UTC; use {means} with `daily: mean`"
        )
    return Days(near[index] / count, index[:, None], "take", f"instant at {clock} UTC")


def _covered(
    time: np.ndarray,
    step: float,
    hours: float,
    layout: VariableLayout,
    amount: bool,
    name: str,
    target: float,
) -> Days:
    """Group values that cover some hours into the UTC days, or steps, that contain them."""
    if hours < step * 24 - _NEAR:
        raise UserError(
            f"{name} covers {hours:g} h at steps of {step * 24:g} h; the rest of the day is "
            f"missing"
        )
    if abs(round(24 / hours) * hours - 24) > 1e-6:
        raise UserError(f"{name} covers {hours:g} h, which do not divide a day")
    length = 24 * target
    if abs(round(length / hours) * hours - length) > 1e-6:
        raise UserError(
            f"{name} covers {hours:g} h, which do not divide a step (data.step, "
            f"{describe_step(target)}); expected values over {length:g} h or a part of them"
        )
    start = time - _SHIFTS[layout.stamp] * hours / 24
    # Of overlapping values, those that are consecutive from 00 UTC are used.
    slot = start * 24 / hours
    keep = np.flatnonzero(np.abs(slot - np.round(slot)) < _NEAR * 24 / hours)
    per_day, count = round(24 / hours), round(length / hours)
    how = "sum" if amount else "mean"
    text = f"{_kind(amount)} of the {_unit(target, 'UTC day')}"
    if count > 1:
        text += f", {how} of {count} values over {hours:g} h"
    days = _group(np.round(slot[keep]) / per_day, 1.0 / per_day, how, text, name, target)
    return replace(days, index=keep[days.index], how="take" if count == 1 else how)


def _group(start: np.ndarray, step: float, how: str, text: str, name: str, target: float) -> Days:
    """Group steps by the day, or step, that they start in; only the ends may be incomplete."""
    count = round(target / step)
    what = "day" if target == 1 else f"step of {describe_step(target)}"
    day = beginning_of_step(start + _NEAR, target)
    days, first, found = np.unique(day, return_index=True, return_counts=True)
    whole = found == count
    if not whole.any():
        raise UserError(f"{name} has no {what} with all its {count} steps")
    # The first day may lack steps at its beginning, the last day at its end.
    slot = np.round((start - day) / target * count).astype(np.int64)
    whole_or_cut = whole.copy()
    whole_or_cut[0] |= slot[0] + found[0] == count
    whole_or_cut[-1] |= slot[-1] + 1 == found[-1]
    if not whole_or_cut.all():
        one = int(np.flatnonzero(~whole_or_cut)[0])
        date = iso_date(days[one])
        raise UserError(
            f"{name} of {date} has {found[one]} of its {count} steps; complete the source, or "
            f"select other days with data.period"
        )
    cut = int((~whole).sum())
    plural = "step" if target < 1 else "day"
    left_out = f"{cut} incomplete {plural}{'s' if cut > 1 else ''} at the ends" if cut else ""
    index = first[whole][:, None] + np.arange(count)
    return Days(days[whole], index, how, text, left_out)


def _clock(hour: float) -> str:
    minutes = round(hour * 60)
    return f"{minutes // 60:02d}" + (f":{minutes % 60:02d}" if minutes % 60 else "")


def _unit(target: float, day: str = "day") -> str:
    """Return what a mean is over: `day`, or the hours from the time of a step on."""
    return day if target == 1 else f"{target * 24:g} h from {clock_of_steps(target)} UTC on"


def _kind(amount: bool) -> str:
    return "total" if amount else "mean"
