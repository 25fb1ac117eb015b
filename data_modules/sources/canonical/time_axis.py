"""The time axis of a file as days since 1970-01-01 00 UTC, in order.

Refused are dates that cannot be decoded, no date at all, duplicate dates, and calendars whose
dates are not Gregorian dates (`360_day`, `all_leap`, `julian`). A calendar without leap days is
accepted: its dates exist, and the missing 29 February is recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from data_modules.sources.canonical.reading import Reading
from slams.calendar.days import days_since_epoch

__all__ = ["decode_days"]

_REAL = ("standard", "gregorian", "proleptic_gregorian")
_WITHOUT_LEAP_DAYS = ("noleap", "365_day")


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
    calendar = dataset["time"].encoding.get("calendar") or _calendar(dataset["time"].values)
    calendar = str(calendar).lower()
    if calendar in _WITHOUT_LEAP_DAYS:
        reading.repairs.append(f"time: calendar {calendar}, there is no 29 February")
    elif calendar not in _REAL:
        raise reading.fault(
            f"time has the calendar {calendar!r}, whose dates are not Gregorian; "
            f"expected {', '.join((*_REAL, *_WITHOUT_LEAP_DAYS))}"
        )
    times = dataset["time"].values
    if times.dtype == object:  # cftime, for calendars or epochs that numpy cannot hold
        times = np.array([np.datetime64(t.isoformat()) for t in times])
    if not np.issubdtype(times.dtype, np.datetime64) or np.isnat(times).any():
        raise reading.fault("time could not be decoded into dates; check its units")
    if len(times) == 0:
        raise reading.fault("found no dates")
    days = days_since_epoch(times)
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


def _calendar(times: np.ndarray) -> Any:
    return getattr(times.flat[0], "calendar", "standard") if times.size else "standard"
