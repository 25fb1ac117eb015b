"""Days since 1970-01-01 00 UTC, and their conversion from and to dates.

Every time in this package is such a number, a float where the hour matters. This module needs only
numpy, so that both mathematics and file readers can import it.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np

__all__ = ["TIME_UNITS", "day_number", "day_of", "days_since_epoch", "iso_date", "time_stamps"]

# As in NetCDF and Zarr stores.
TIME_UNITS = "days since 1970-01-01 00:00:00"
_EPOCH = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Count the days from 1970-01-01 to a date."""
    return (day - _EPOCH).days


def day_of(time: float) -> date:
    """Return the date of a time, ignoring its hour.

    Args:
        time: Days since 1970-01-01 00 UTC.
    """
    return _EPOCH + timedelta(days=float(time))


def iso_date(time: float) -> str:
    """Format a time as an ISO date, with the time of day unless it is 00 UTC.

    Args:
        time: Days since 1970-01-01 00 UTC.
    """
    return str(time_stamps(time)).removesuffix("T00:00:00")


def days_since_epoch(times: Any) -> Any:
    """Convert dates to days since 1970-01-01 00 UTC.

    Args:
        times: Array or pandas Series of numpy dates (`datetime64`) in any unit.

    Returns:
        Array or Series of the same shape, in float64 days.
    """
    return (times - np.datetime64(_EPOCH, "D")) / np.timedelta64(1, "D")


def time_stamps(time: Any) -> Any:
    """Convert days since 1970-01-01 00 UTC to dates, rounded to seconds.

    Args:
        time: Number or array of days.

    Returns:
        Array of the same shape, as `datetime64[s]`.
    """
    seconds = np.round(np.asarray(time, dtype=np.float64) * 86400.0).astype("timedelta64[s]")
    return np.datetime64(_EPOCH, "s") + seconds
