"""The canonical form of a source, and its conversion to that form.

A canonical dataset has dimensions (time, [level,] latitude, longitude); one step per day, or per
`Reading.step` (`slams.calendar.steps`), time in days since 1970-01-01 00 UTC, increasing; level in
hPa in the requested order (variables whose levels differ from those of the first have a separate
dimension, `level_of_VARIABLE`); latitude from north to south; longitude in [0, 360), increasing;
values in the units of `slams.variables`.
The attribute `repairs` lists the changes, the attribute `time` describes the value of a step;
faults that cannot be repaired without guessing (duplicate dates, unknown units) are refused.

Steps are selected and ordered on lazily indexed arrays first, so that the cost for a source of a
million steps is that of the selected steps; dask is used only for the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import xarray as xr

from data_modules.sources.canonical.axes import (
    DIMENSIONS,
    order_latitude,
    order_longitude,
    rename,
    select_levels,
)
from data_modules.sources.canonical.daily import Days, decode_days, find_days_of
from data_modules.sources.canonical.layouts import VariableLayout, find_unit
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.canonical.versions import join_versions

__all__ = ["VALID_RANGE", "as_slice", "canonicalise", "level_dimension"]

# Values outside indicate wrong units, a wrong sign or an unmasked fill value.
VALID_RANGE = {
    "K": (100.0, 400.0),
    "mm day-1": (-1.0, 5000.0),
    "W m-2": (0.0, 700.0),
    "Pa": (3e4, 1.2e5),
    "m s-1": (-250.0, 250.0),
    # Negative values are numerical noise of the archive, as with precipitation.
    "kg kg-1": (-1e-3, 0.05),
}

# Optional, without time: terrain for the elevation correction of station values.
_TERRAIN = "surface_elevation"

# Bytes of one variable per dask chunk, and the largest number of days in it.
_CHUNK_BYTES = 32e6
_CHUNK_DAYS = 16


def canonicalise(
    dataset: xr.Dataset,
    layouts: Mapping[str, VariableLayout],
    reading: Reading,
    attributes: Sequence[str] = (),
) -> xr.Dataset:
    """Convert a dataset to canonical form, lazily.

    Args:
        dataset: The opened dataset, values (scale, offset, fill value) and time decoded.
        layouts: Layout in the file by canonical variable name; a variable that is not listed has
            its canonical name in the file and is an instant.
        reading: What is requested.
        attributes: Attributes of the file to keep, in lower case.

    Returns:
        The requested variables, one step per day, on the requested levels, and
        `surface_elevation` (m) if the file has it. The attribute `repairs` lists the changes,
        `time` describes the value of a day, `conversion` of each variable its name and units in
        the file, and what was made of them.

    Raises:
        UserError: A dimension, variable, level or unit is missing or unknown, a date or
            coordinate is duplicated, the time axis is ambiguous, or the grid is not global.
    """
    dataset = join_versions(rename(dataset, reading), reading)
    if not reading.wanted:
        raise reading.fault(f"every requested channel is under {reading.key}.absent")
    steps, order = decode_days(dataset, reading)
    found = {
        name: _find(dataset, name, layouts.get(name, VariableLayout(name)), steps, reading)
        for name in reading.variables
    }
    axis = _common_days({name: one.days for name, one in found.items()}, reading)
    latitude, rows = order_latitude(dataset, reading)
    longitude, columns = order_longitude(dataset, reading)
    places = {"time": axis, "latitude": latitude, "longitude": longitude}
    out = {}
    for name, one in found.items():
        index = one.days.index[np.searchsorted(one.days.day, axis)]
        array = _take_days(one.array, order[index], one.days.how, reading)
        array = array.isel(latitude=rows, longitude=columns)
        if (one.factor, one.offset) != (1.0, 0.0):
            array = array * one.factor + one.offset
        dims = list(array.dims)
        if "level" in dims:
            own = array["level"].values
            if not np.array_equal(places.setdefault("level", own), own):
                dims[dims.index("level")] = f"level_of_{name}"
                places[f"level_of_{name}"] = own
        encoding = _amount_read(array, one)
        out[name] = xr.Variable(dims, array.data, {"conversion": one.conversion}, encoding)
    if _TERRAIN in dataset and set(dataset[_TERRAIN].dims) == {"latitude", "longitude"}:
        terrain = dataset[_TERRAIN].transpose("latitude", "longitude")
        terrain = terrain.isel(latitude=rows, longitude=columns)
        out[_TERRAIN] = xr.Variable(terrain.dims, terrain.data)
    result = xr.Dataset(out, coords=places)
    notes = {f"{name}: {one.days.note}" for name, one in found.items()}
    repairs = list(dict.fromkeys(reading.repairs))
    result.attrs = {"repairs": repairs, "time": "; ".join(sorted(notes))}
    kept = [name for name in attributes if name in dataset.attrs]
    result.attrs |= {name.lower(): str(dataset.attrs[name]) for name in kept}
    return result


def level_dimension(array: xr.DataArray) -> str | None:
    """Return the name of the level dimension of a variable of a canonical dataset, if any."""
    return next((str(d) for d in array.dims if str(d).startswith("level")), None)


@dataclass(frozen=True)
class _Variable:
    """A variable of the file: its values on the requested levels, its conversion and its days."""

    array: xr.DataArray
    factor: float
    offset: float
    days: Days
    conversion: str


def _find(
    dataset: xr.Dataset, name: str, layout: VariableLayout, steps: np.ndarray, reading: Reading
) -> _Variable:
    """Find a variable, its conversion to canonical units, its levels and its days."""
    array = _in_file(dataset, name, layout, reading)
    channels = [c for c in reading.wanted if c.variable == name]
    target = channels[0].units
    unit, spelled, note = find_unit(array.attrs.get("units"), layout, target, reading)
    if note:
        reading.repairs.append(note)
    if (unit.factor, unit.offset, layout.factor) != (1.0, 0.0, 1.0):
        sign = "" if layout.factor == 1.0 else f", times {layout.factor:g}"
        reading.repairs.append(f"{layout.name}: {spelled} converted to {target}{sign}")
    levels = [c.level for c in channels if c.level is not None]
    if levels:
        array = select_levels(array, levels, name, reading)
    elif "level" in array.dims:
        raise reading.fault(
            f"variable {layout.name!r} has levels; specify the channel as {name}@LEVEL"
        )
    days = find_days_of(steps, layout, unit.amount, name, reading)
    # An amount gathers over a step: that of six hours is a quarter of the day's at the same rate.
    factor = unit.factor * layout.factor / (reading.step if unit.amount else 1.0)
    made = f" times {factor:g}" * (factor != 1) + f" plus {unit.offset:g}" * (unit.offset != 0)
    conversion = f"{layout.name} in {spelled}{made or ' as it is'}, {days.note}"
    return _Variable(array, factor, unit.offset, days, conversion)


def _in_file(
    dataset: xr.Dataset, name: str, layout: VariableLayout, reading: Reading
) -> xr.DataArray:
    """Return a variable with checked dimensions; other dimensions of one element are dropped."""
    if layout.name not in dataset:
        raise reading.fault(
            f"variable {layout.name!r} ({name}) is missing; found "
            f"{', '.join(sorted(map(str, dataset.data_vars))) or 'none'}; add its channels to "
            f"{reading.key}.absent if the source does not have it"
        )
    array = dataset[layout.name]
    single = [d for d in array.dims if d not in DIMENSIONS and array.sizes[d] == 1]
    if single:
        text = f"{layout.name}: dimensions of one element dropped: {', '.join(single)}"
        reading.repairs.append(text)
        array = array.isel(dict.fromkeys(single, 0), drop=True)
    if set(array.dims) - {"level"} != {"time", "latitude", "longitude"}:
        raise reading.fault(
            f"variable {layout.name!r} has dimensions {array.dims}, expected (time, [level,] "
            f"latitude, longitude) in any order"
        )
    return array


def _common_days(days: Mapping[str, Days], reading: Reading) -> np.ndarray:
    """Return the days of the period that every variable has."""
    axis = reduce(np.intersect1d, (one.day for one in days.values()))
    for variable, one in days.items():
        if one.left_out:
            reading.repairs.append(f"{variable}: {one.left_out} left out")
    lost = {name: len(one.day) - len(axis) for name, one in days.items()}
    if any(lost.values()):
        lacking = ", ".join(f"{count} of {name}" for name, count in lost.items() if count)
        reading.repairs.append(f"time: days that some variable lacks left out ({lacking})")
    if not len(axis):
        raise reading.fault("no day has every variable")
    return axis[reading.of_period(axis)].astype(np.float64)


def _take_days(array: xr.DataArray, index: np.ndarray, how: str, reading: Reading) -> xr.DataArray:
    """Select the steps of each day, `index` `(n, k)` positions, and combine them."""
    count = index.shape[1]
    array = array.isel(time=as_slice(index.reshape(-1)))
    step = array.dtype.itemsize * max(array.size // max(array.sizes["time"], 1), 1) * count
    length = count * min(_CHUNK_DAYS, 2 ** int(np.log2(max(_CHUNK_BYTES / step, 1.0))))
    array = array.chunk({d: length if d == "time" else -1 for d in array.dims})
    order = [d for d in ("time", "level", "latitude", "longitude") if d in array.dims]
    if order != list(array.dims):
        reading.repairs.append(f"{array.name}: dimensions {array.dims} transposed")
        array = array.transpose(*order)
    if how == "take":
        return array
    data = array.data.map_blocks(
        _together,
        count,
        how,
        chunks=(tuple(c // count for c in array.data.chunks[0]), *array.data.chunks[1:]),
        dtype=np.float32,
        meta=np.empty((0,) * array.ndim, np.float32),
    )
    coords = {d: array[d] for d in order[1:] if d in array.coords}
    return xr.DataArray(data, dims=array.dims, coords=coords)


def _together(block: np.ndarray, count: int, how: str) -> np.ndarray:
    """Sum or average the steps of each day, independently of the memory layout."""
    block = np.ascontiguousarray(block, dtype=np.float64)
    block = block.reshape(-1, count, *block.shape[1:])
    total = block[:, 0].copy()
    for step in range(1, count):
        total += block[:, step]
    return (total if how == "sum" else total / count).astype(np.float32)


def _amount_read(daily: xr.DataArray, variable: _Variable) -> dict[str, dict[str, int]]:
    """Return the amount read from the file per chunk of daily values, as xarray encodes it."""
    array, count = variable.array, variable.days.index.shape[1]
    chunks = array.encoding.get("preferred_chunks") or {
        d: max(sizes) for d, sizes in array.chunksizes.items()
    }
    # Steps that are averaged or summed are in memory as read, and again in float64.
    together = 1 if count == 1 else 3 * count * daily.data.chunks[0][0]
    rest = int(np.prod([n for d, n in daily.sizes.items() if d != "time"]))
    whole = max(int(np.prod(list(chunks.values()))), together * rest)
    return {"preferred_chunks": {"time": -(-whole // rest), "rest": rest}}


def as_slice(index: np.ndarray) -> slice | np.ndarray:
    """Convert equally spaced positions to a slice, which backends read faster.

    Args:
        index: `(n,)` positions, at least one.
    """
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    if step > 0 and (np.diff(index) == step).all():
        return slice(int(index[0]), int(index[-1]) + 1, step)
    return index
