"""Layout of an image in a dataset: its dimensions, its grid, and the error that it states.

An attribute `error` (a number), or a variable `error` (a number, or of the dimensions of the
image), is the standard deviation of the error.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from data_modules.sources.canonical.axes import coordinate_values
from data_modules.sources.canonical.reading import Reading
from slams.calendar.days import days_since_epoch

__all__ = ["covered_times", "plain_image", "regular_axes", "stated_error"]

_DIMENSIONS = ("time", "latitude", "longitude")
# Tolerance for the spacing of longitudes, as a share of it.
_REGULAR = 0.01
# Degrees by which rows and columns differ; coordinates may have a noise of 1e-6.
_DISTINCT = 1e-5
_SITE = "a site belongs into a table of reports"
# Tolerance around a full hour (hours): 9 seconds, for times with a rounding error.
_NEAR = 0.0025


def plain_image(array: xr.DataArray, reading: Reading) -> xr.DataArray:
    """Return an array with dimensions time, latitude and longitude.

    Args:
        array: A variable of a dataset with canonical names of dimensions.
        reading: What is requested, for messages.

    Raises:
        UserError: It lacks one of them, or has another one.
    """
    for name in ("latitude", "longitude"):
        if name not in array.dims:
            swath = name in array.coords and array[name].ndim > 1
            raise reading.fault(
                f"{array.name!r} has dimensions {', '.join(map(str, array.dims))}, expected "
                f"latitude and longitude; " + ("a swath is of kind pixels" if swath else _SITE)
            )
    single = [d for d in array.dims if d not in _DIMENSIONS and array.sizes[d] == 1]
    array = array.isel(dict.fromkeys(single, 0), drop=True)
    rest = [str(d) for d in array.dims if d not in _DIMENSIONS]
    if rest:
        raise reading.fault(
            f"{array.name!r} has the dimension {', '.join(rest)}, expected time, latitude and "
            f"longitude"
        )
    if "time" not in array.dims:
        array = array.expand_dims("time")
    return array.transpose(*_DIMENSIONS)


def stated_error(
    dataset: xr.Dataset, array: xr.DataArray, reading: Reading
) -> xr.DataArray | None:
    """Return the standard deviations that the image states, or `None`.

    Args:
        dataset: The dataset.
        array: The image, see `plain_image`.
        reading: What is requested, for messages.

    Raises:
        UserError: They have another shape than the image.
    """
    if "error" in dataset.data_vars:
        error = dataset["error"]
        if not error.dims:
            return error.astype(np.float64)
        error = plain_image(error, reading)
        if error.shape != array.shape:
            raise reading.fault(
                f"found an error of shape {error.shape} for an image of {array.shape}, expected "
                f"the same"
            )
        return error
    if "error" in array.attrs:
        try:
            return xr.DataArray(float(array.attrs["error"]))
        except (TypeError, ValueError):
            return xr.DataArray(-1.0)
    return None


def covered_times(dataset: xr.Dataset, stamps: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the middle of the interval that each value covers, or its stamp without bounds.

    A daily mean may be stamped at the end of its day, which is the beginning of the next.

    Args:
        dataset: The dataset, with decoded times, in the order of the file.
        stamps: `(N,)` its time stamps, days since 1970-01-01 00 UTC.

    Returns:
        `(N,)` days since 1970-01-01 00 UTC, and a note on values that move to another day, or "".
    """
    times = _on_the_hour(stamps)
    time = dataset["time"]
    bounds = dataset.get(time.attrs.get("bounds") or time.encoding.get("bounds") or "")
    if bounds is None or bounds.shape != (len(stamps), 2) or bounds.dtype.kind != "M":
        return times, ""
    edges = days_since_epoch(bounds.values.astype("datetime64[ns]"))
    if not (edges[:, 1] > edges[:, 0]).all():  # NaT is not
        return times, ""
    middle = _on_the_hour(edges.mean(axis=1))
    moved = int((np.floor(middle) != np.floor(times)).sum())
    note = f"{moved} values belong to the day of the middle of {bounds.name}, not of their stamp"
    return middle, f"time: {note}" if moved else ""


def _on_the_hour(times: np.ndarray) -> np.ndarray:
    """Return times (days), those within seconds of a full hour at it."""
    hours = times * 24
    whole = np.round(hours)
    return np.where(np.abs(hours - whole) < _NEAR, whole / 24, times)


def regular_axes(
    array: xr.DataArray, reading: Reading
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], float]:
    """Return latitudes and longitudes with their order in the image, and the spacing (degrees).

    Args:
        array: The image, see `plain_image`.
        reading: What is requested, for messages.

    Raises:
        UserError: They are not those of a regular grid, global or regional.
    """
    latitude, longitude = (
        coordinate_values(array, name, reading) for name in ("latitude", "longitude")
    )
    for name, values in (("latitude", latitude), ("longitude", longitude)):
        if len(values) < 2:
            raise reading.fault(f"found {len(values)} values of {name}, expected two or more")
    rows = np.argsort(-latitude, kind="stable")
    latitude = latitude[rows]
    if np.abs(latitude).max() > 90 + 1e-6 or (np.diff(latitude) > -_DISTINCT).any():
        raise reading.fault("expected distinct latitudes within [-90, 90]")
    east = np.mod(longitude, 360.0)
    columns = np.argsort(east, kind="stable")
    if np.diff(np.sort(longitude)).min() < _DISTINCT:
        raise reading.fault("longitudes occur more than once, expected distinct ones")
    gaps = np.diff(east[columns])
    columns = columns[np.concatenate([[True], gaps > 1e-6])]  # the meridians 0 and 360 are one
    east = east[columns]
    gaps = np.diff([*east, east[0] + 360.0])
    spacing = float(np.median(gaps))
    # One gap may be larger: the part of the globe outside the image.
    irregular = np.abs(gaps - spacing) > _REGULAR * spacing
    if irregular.sum() > 1 or gaps.min() < (1 - _REGULAR) * spacing:
        raise reading.fault("the longitudes are not equally spaced, expected a regular grid")
    return (latitude, rows), (east, columns), spacing
