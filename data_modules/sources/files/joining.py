"""Joining files along time: the same grid, the same variables, no date with two values.

Files that one archive wrote at different times differ in what carries no information: coordinates
in float32 or float64, a spelling of units, the last day of one again at the start of the next.
Such differences are removed and recorded; others are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from data_modules.sources.canonical.units import same_units
from slams.errors import UserError

__all__ = ["TOLERANCE", "concatenate", "join_files", "same_coordinate", "time_dimension"]

# Degrees and hPa within which coordinates are the same: float32 keeps 360 degrees to 3e-5, and no
# archive has a grid or levels as fine as a hundred times that.
TOLERANCE = 1e-4
# Steps per dask chunk of files joined along time.
_STEPS = 16


def time_dimension(dataset: xr.Dataset) -> str:
    """Return the name of a dataset's time dimension, `time` if it has none."""
    for name in ("time", "valid_time"):
        if name in dataset.dims:
            return name
    for name, array in dataset.coords.items():
        if array.dims in ((name,), ()) and (
            array.attrs.get("standard_name") == "time" or array.attrs.get("axis") == "T"
        ):
            return str(name)
    return "valid_time" if "valid_time" in dataset.coords else "time"


def same_coordinate(one: xr.DataArray, other: xr.DataArray) -> bool:
    """Return whether two coordinates have the same values within `TOLERANCE`."""
    if one.shape != other.shape:
        return False
    if not all(array.dtype.kind in "iuf" for array in (one, other)):
        return bool(np.array_equal(one.values, other.values))
    values = (np.asarray(array.values, np.float64) for array in (one, other))
    return bool(np.allclose(*values, rtol=1e-7, atol=TOLERANCE, equal_nan=True))


def join_files(
    parts: Sequence[xr.Dataset], files: Sequence[str], key: str, time: str, repairs: list[str]
) -> xr.Dataset:
    """Join the datasets of several files along time, lazily.

    Args:
        parts: One dataset per file.
        files: Their paths or addresses.
        key: Dotted key of the source in the recipe, for messages.
        time: Name of the dimension along which they are joined.
        repairs: What was removed is appended to it.

    Raises:
        UserError: A file differs from the first in grid, levels, variables or units, has a time
            axis without dates, or other values on a date that another file has as well.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    like: list[xr.Dataset] = []
    for file, part in zip(files, parts, strict=True):
        if time in part.coords and time not in part.dims:
            part = part.expand_dims(time)
        if time in part.coords and part[time].dtype.kind not in "MO":
            raise UserError(
                f"{key}.path: {file}: time could not be decoded into dates; its units are "
                f"{part[time].attrs.get('units')!r}"
            )
        like.append(_like_first(part, file, first, files[0], key, time, repairs))
    kept = _without_repeats(like, files, key, time, repairs)
    return concatenate([part.chunk({time: _STEPS}) for part in kept], time)


def concatenate(parts: Sequence[xr.Dataset], time: str = "time") -> xr.Dataset:
    """Join datasets along time; what does not depend on time is that of the first one.

    Args:
        parts: Datasets of the same grid, levels and variables.
        time: Name of the dimension along which they are joined.
    """
    return xr.concat(
        parts,
        dim=time,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )


def _like_first(
    part: xr.Dataset,
    file: str,
    first: xr.Dataset,
    name_of_first: str,
    key: str,
    time: str,
    repairs: list[str],
) -> xr.Dataset:
    """Return a part with the coordinates of the first, if they are the same."""
    for name in first.coords:
        if name == time or time in first[name].dims:
            continue
        if name not in part.coords or not same_coordinate(first[name], part[name]):
            raise UserError(
                f"{key}.path: {file} has another {name} than {name_of_first}; files to be joined "
                f"must have the same grid and levels"
            )
        if not np.array_equal(first[name].values, part[name].values):
            repairs.append(
                f"{name}: values of files that differ by less than {TOLERANCE:g} taken as equal"
            )
        part = part.assign_coords({name: first[name]})
    for name in first.data_vars:
        if name not in part:
            raise UserError(f"{key}.path: {file} has no {name}, unlike {name_of_first}")
        found, before = (d[name].attrs.get("units") for d in (part, first))
        if not same_units(found, before):
            raise UserError(
                f"{key}.path: {file} has {name} in {found!r}, {name_of_first} in {before!r}; "
                f"files to be joined must have the same units"
            )
    return part


def _without_repeats(
    parts: Sequence[xr.Dataset], files: Sequence[str], key: str, time: str, repairs: list[str]
) -> list[xr.Dataset]:
    """Drop steps that an earlier file has with the same values."""
    seen: dict[object, tuple[int, int]] = {}
    kept = []
    for number, (part, file) in enumerate(zip(parts, files, strict=True)):
        stamps = _hashable(part[time].values) if time in part.coords else []
        again = [step for step, stamp in enumerate(stamps) if stamp in seen]
        for step in again:
            other, position = seen[stamps[step]]
            name = _differing(part.isel({time: step}), parts[other].isel({time: position}), time)
            if name:
                date = str(part[time].values[step])[:19]
                raise UserError(
                    f"{key}.path: {files[other]} and {file} both have {date}, with different "
                    f"values of {name}; remove it from one of them"
                )
        if again:
            repairs.append(
                f"time: {len(again)} step{'s' if len(again) > 1 else ''} that two files have with "
                f"the same values taken once"
            )
            part = part.isel({time: np.setdiff1d(np.arange(len(stamps)), again)})
        for step, stamp in enumerate(stamps):
            seen.setdefault(stamp, (number, step))
        if part.sizes.get(time, 1):
            kept.append(part)
    return kept


def _hashable(dates: np.ndarray) -> list[object]:
    return (dates.astype("datetime64[ms]") if dates.dtype.kind == "M" else dates).tolist()


def _differing(one: xr.Dataset, other: xr.Dataset, time: str) -> str:
    """Return the first variable with other values than in another step, "" if there is none."""
    for name, array in one.data_vars.items():
        first, second = array.values, other[name].transpose(*array.dims).values
        if array.dtype.kind != "f":
            same = np.array_equal(first, second)
        else:
            # Each file is packed with a scale of its own, and rounded to half of it.
            packing = sum(abs(d[name].encoding.get("scale_factor", 0.0)) for d in (one, other))
            same = np.allclose(first, second, rtol=0.0, atol=0.51 * packing, equal_nan=True)
        if not same:
            return str(name)
    return ""
