"""Time axes that xarray does not decode: `day as %Y%m%d.%f`, `months since`, other capitals.

Read are units with one meaning: a date written as a number, and whole months since the first of a
month in a calendar of real dates. What has none is left as it is, and refused where the dates are
needed, with its units quoted: parts of a month, `years since`, a year 0 in the calendar `standard`
(which has none), a date in float32, which holds seven digits of the eight.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["open_with_dates"]

_AS_NUMBER = re.compile(r"days?\s+as\s+%Y%m%d(\.%f)?", re.IGNORECASE)
_SINCE = re.compile(r"([a-z]+)\s+since\s+(.+)", re.IGNORECASE)
_FIRST_OF_MONTH = re.compile(
    r"(\d{1,4})-0?(\d{1,2})-0?1(?:[T ]+0?0(?::0?0(?::0?0(?:\.0*)?)?)?)?Z?"
)
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")


def open_with_dates(open_dataset: Callable[..., xr.Dataset]) -> xr.Dataset:
    """Open a file or store and decode its dates.

    Args:
        open_dataset: Function that opens it, with the keyword `decode_times`.

    Returns:
        The dataset; a time axis without a meaning is undecoded, with its attribute `units`.
    """
    try:
        dataset = open_dataset()
    except ValueError:
        dataset = open_dataset(decode_times=False)
    for name in list(dataset.variables):
        array = dataset[name]
        if "units" not in array.attrs or array.ndim > 1 or array.dtype.kind not in "iuf":
            continue
        found = _decoded(array)
        if found is None:
            continue
        dataset = _replaced(dataset, str(name), found, array.attrs)
        bounds = array.attrs.get("bounds")
        if bounds in dataset and dataset[bounds].dtype.kind in "iuf":
            edges = dataset[bounds].assign_attrs(array.attrs)
            decoded = _decoded(edges)
            if decoded is not None:
                dataset = dataset.assign({bounds: (edges.dims, decoded)})
    return dataset


def _replaced(
    dataset: xr.Dataset, name: str, dates: np.ndarray, attrs: dict[str, Any]
) -> xr.Dataset:
    kept = {key: value for key, value in attrs.items() if key not in ("units", "calendar")}
    variable = xr.Variable(dataset[name].dims, dates, kept)
    variable.encoding = {key: attrs[key] for key in ("units", "calendar") if key in attrs}
    if name in dataset.coords:
        return dataset.assign_coords({name: variable})
    return dataset.assign({name: variable})


def _decoded(array: xr.DataArray) -> np.ndarray | None:
    """Return dates for one variable, `None` if its units have no meaning as dates."""
    units = " ".join(str(array.attrs["units"]).split())
    calendar = str(array.attrs.get("calendar", "standard")).lower()
    if _AS_NUMBER.fullmatch(units):
        return _dates_as_numbers(array.values)
    since = _SINCE.fullmatch(units)
    if since is None:
        return None
    if since[1].lower() in ("month", "months"):
        return _months(array.values, since[2].strip(), calendar)
    plain = array.copy(deep=False).assign_attrs(units=f"{since[1].lower()} since {since[2]}")
    try:
        found = xr.decode_cf(xr.Dataset({"x": plain.drop_vars(plain.coords).variable}))["x"].values
    except (ValueError, OverflowError):
        return None
    return found if found.dtype.kind in "MO" else None


def _dates_as_numbers(values: np.ndarray) -> np.ndarray | None:
    if values.dtype.itemsize < 8 and values.dtype.kind == "f":
        return None
    flat = np.asarray(values, np.float64).reshape(-1)
    if not np.isfinite(flat).all():
        return None
    texts = [f"{int(day):08d}" for day in np.floor(flat)]
    try:
        days = np.array([f"{t[:-4]}-{t[-4:-2]}-{t[-2:]}" for t in texts], "datetime64[D]")
    except ValueError:
        return None
    seconds = np.round((flat - np.floor(flat)) * 86400).astype("timedelta64[s]")
    return (days.astype("datetime64[s]") + seconds).astype("datetime64[ns]").reshape(values.shape)


def _months(values: np.ndarray, epoch: str, calendar: str) -> np.ndarray | None:
    first = _FIRST_OF_MONTH.fullmatch(epoch)
    numbers = np.asarray(values, np.float64)
    whole = np.isfinite(numbers).all() and np.array_equal(numbers, np.round(numbers))
    if first is None or not whole or calendar not in _CALENDARS:
        return None
    year, month = int(first[1]), int(first[2])
    if year < 1583 or not 1 <= month <= 12:
        return None
    start = np.datetime64(f"{year:04d}-{month:02d}", "M")
    return (start + numbers.astype("timedelta64[M]")).astype("datetime64[ns]")
