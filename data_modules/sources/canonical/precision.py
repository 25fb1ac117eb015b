"""Times that a file stores in single precision, which has seven digits.

Seconds since 1800 are then known within four minutes, and a mean of a day may seem to be of the
evening before. Times off the full hour by no more than their rounding are taken at it; where the
rounding reaches half an hour no one knows the hour, and they are refused.
"""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from data_modules.sources.canonical.reading import Reading

__all__ = ["full_hours"]

_LARGEST, _EXACT = 0.5, 1e-6  # hours


def full_hours(days: np.ndarray, time: xr.DataArray, reading: Reading) -> np.ndarray:
    """Return times of single precision at the full hour next to them, others as they are.

    Args:
        days: `(N,)` days since 1970-01-01 00 UTC.
        time: The same times as a file has them, decoded, with the encoding of the file.
        reading: What is requested; a change is recorded.

    Raises:
        UserError: The times are known within hours only.
    """
    rounding = _rounding(days, time)
    hours = days * 24
    whole = np.round(hours)
    off = np.abs(hours - whole)
    near = (off <= rounding + _EXACT) & (off > _EXACT)
    if not near.any():
        return days
    if rounding > _LARGEST:
        raise reading.fault(
            f"time is stored in single precision as {time.encoding['units']!r}, known within "
            f"{rounding:.1f} h only; expected double precision, or hours since a later date"
        )
    reading.repairs.append("time: stored in single precision, taken at the full hour")
    return np.where(near, whole / 24, days)


def _rounding(days: np.ndarray, time: xr.DataArray) -> float:
    """Return the largest rounding error (hours) of times in single precision, otherwise 0."""
    kind, units = time.encoding.get("dtype"), time.encoding.get("units")
    if kind is None or np.dtype(kind) != np.float32 or not isinstance(units, str):
        return 0.0
    ends = np.array([days.min(), days.max()]) * 86400
    stamps = np.datetime64(0, "s") + np.round(ends).astype("timedelta64[s]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the spelling of a date
        encoded = xr.conventions.encode_cf_variable(
            xr.Variable("time", stamps.astype("datetime64[ns]"), {}, {"units": units})
        )
    largest = np.float32(np.abs(encoded.values.astype(np.float64)).max())
    # Smaller units are too small to matter here, larger ones are not decoded.
    unit = {"d": 24.0, "h": 1.0, "m": 1 / 60, "s": 1 / 3600}.get(units.strip()[:1].lower(), 0.0)
    return float(np.spacing(largest)) / 2 * unit
