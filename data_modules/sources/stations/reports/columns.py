"""Columns of a table of reports, whatever types a file gives them.

Times are in UTC: dates with or without a time zone, ISO text, or numbers since 1970-01-01 in
seconds, milli-, micro- or nanoseconds (told apart by their size). Missing numbers are empty, NaN,
a code that no quantity can have (-9999 and the like), or the largest number of a type.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["no_numbers", "numbers", "utc_times", "without_codes"]

# Codes of missing values in files of NOAA; no value of any variable is one of them.
_CODES = (-9999.0, -9999.9, -99999.0, -8888.0)
# Fill values such as 9.96921e36, 1e20 and 3.4028235e38.
_LARGEST = 1e15
# Smallest size of a number of nanoseconds, microseconds, milliseconds and seconds, 1973 to 2262.
_UNITS = ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000), (1e8, 1_000_000_000))


def utc_times(column: pd.Series) -> pd.Series:
    """Return times of any type as `(n,)` datetime64[ns] UTC, NaT where there is none."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[ns]")
    if pd.api.types.is_datetime64_dtype(column):
        return column.astype("datetime64[ns]")
    if pd.api.types.is_numeric_dtype(column):
        return _since_epoch(column)
    text = column.astype("string").str.strip()
    time = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
    return time.dt.tz_localize(None).astype("datetime64[ns]")


def numbers(column: pd.Series) -> pd.Series:
    """Return numbers of any type as `(n,)` float64, NaN where they are missing or no number."""
    if not pd.api.types.is_numeric_dtype(column):
        column = column.astype("string").str.strip()
    found = without_codes(pd.to_numeric(column, errors="coerce").astype("float64"))
    return found.mask(found.abs().gt(_LARGEST))


def no_numbers(column: pd.Series) -> pd.Series:
    """Return which cells are no number, or an infinite one, `(n,)` bool; empty ones are not."""
    if pd.api.types.is_numeric_dtype(column):
        return np.isinf(column.astype("float64"))
    text = column.astype("string").str.strip()
    found = pd.to_numeric(text, errors="coerce").astype("float64")
    unread = found.isna() & text.notna() & ~text.str.lower().isin(("", "nan"))
    return (unread | np.isinf(found)).astype(bool)


def without_codes(column: pd.Series) -> pd.Series:
    """Return float64 numbers, NaN where they are a code of a missing value."""
    missing = np.zeros(len(column), dtype=bool)
    # Codes that were stored in single precision are not quite the same number.
    for code in _CODES:
        missing |= np.isclose(column.to_numpy(), code, rtol=1e-6, atol=0)
    return column.mask(missing)


def _since_epoch(column: pd.Series) -> pd.Series:
    found = pd.to_numeric(column).astype("Float64")
    whole = column.astype("Int64") if pd.api.types.is_integer_dtype(column) else None
    time = pd.Series(pd.NaT, index=column.index, dtype="datetime64[ns]")
    above = np.inf
    for smallest, factor in _UNITS:
        mine = (found.ge(smallest) & found.lt(above)).fillna(False).to_numpy(dtype=bool)
        above = smallest
        if mine.any():
            exact = found[mine].round() if whole is None else whole[mine]
            nanoseconds = exact.astype("int64") * factor
            time[mine] = nanoseconds.to_numpy().astype("datetime64[ns]")
    return time
