"""The canonical form of a source, and its conversion to that form.

A canonical dataset has dimensions (time, [level,] latitude, longitude); one step per day, time in
days since 1970-01-01 00 UTC, increasing; level in hPa in the requested order (variables whose
levels differ from those of the first have a separate dimension, `level_of_VARIABLE`); latitude
from north to south; longitude in [0, 360), increasing; values in the units of `slams.variables`.
The attribute `repairs` lists the changes, the attribute `time` describes the value of a day;
faults that cannot be repaired without guessing (duplicate dates, unknown units) are refused.

Steps are selected and ordered on lazily indexed arrays first, so that the cost for a source of a
million steps is that of the selected steps; dask is used only for the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import xarray as xr

from data_modules.sources.canonical.daily import Days, find_days_of
from data_modules.sources.canonical.layouts import Unit, VariableLayout, find_unit
from data_modules.sources.canonical.time_axis import decode_days
from slams.errors import UserError
from slams.fields import FieldSpec

__all__ = ["VALID_RANGE", "canonicalise", "level_dimension"]

_ALIASES = {
    "time": ("time", "valid_time"),
    "level": ("level", "pressure_level", "isobaricInhPa", "plev", "lev"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
}

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

_LEVEL_FACTORS = {
    **dict.fromkeys(("hPa", "millibar", "millibars", "mb", "mbar"), 1.0),
    **dict.fromkeys(("Pa", "pascal", "pascals"), 0.01),
}

# Temporary attribute with the chunks of the file.
_STORED = "chunks of the file"

# Bytes of one variable per dask chunk, and the largest number of days in it.
_CHUNK_BYTES = 32e6
_CHUNK_DAYS = 16


def canonicalise(
    dataset: xr.Dataset,
    layouts: Mapping[str, VariableLayout],
    channels: Sequence[FieldSpec],
    absent: Sequence[str],
    where: str,
    key: str,
    daily: str = "instant",
    period: tuple[float, float] | None = None,
) -> xr.Dataset:
    """Convert a dataset to canonical form, lazily.

    Args:
        dataset: The opened dataset, values (scale, offset, fill value) and time decoded.
        layouts: Layout in the file by canonical variable name; a variable that is not listed has
            its canonical name in the file and is an instant.
        channels: The channels to read.
        absent: Names of channels that may be missing from the file; they are left out.
        where: Path of the file, for messages.
        key: Dotted key of the source in the recipe, for messages.
        daily: Value of a day of instants: `instant` (00 UTC) or `mean` (of the day's steps).
        period: First and last day to read, days since 1970-01-01; all days by default.

    Returns:
        The variables of `channels` that are present, one step per day, on the requested levels,
        and `surface_elevation` (m) if the file has it. The attribute `repairs` lists the
        changes, `time` describes the value of a day.

    Raises:
        UserError: A dimension, variable, level or unit is missing or unknown, a date or
            coordinate is duplicated, the time axis is ambiguous, or the grid is not global.
    """
    repairs: list[str] = []
    dataset = _rename(dataset, repairs, where)
    wanted = [c for c in channels if c.name not in absent]
    if not wanted:
        raise UserError(f"source {where}: every requested channel is under {key}.absent")
    steps, order = decode_days(dataset, repairs, where)
    days: dict[str, Days] = {}
    units: dict[str, Unit] = {}
    arrays: dict[str, xr.DataArray] = {}
    for variable in dict.fromkeys(c.variable for c in wanted):
        layout = layouts.get(variable, VariableLayout(variable))
        array = _find(dataset, layout, variable, repairs, where, key)
        target = next(c.units for c in wanted if c.variable == variable)
        unit, spelled, note = find_unit(array.attrs.get("units"), layout, target, where)
        if note:
            repairs.append(note)
        if (unit.factor, unit.offset, layout.factor) != (1.0, 0.0, 1.0):
            sign = "" if layout.factor == 1.0 else f", times {layout.factor:g}"
            repairs.append(f"{layout.name}: {spelled} converted to {target}{sign}")
        levels = [c.level for c in wanted if c.variable == variable and c.level is not None]
        if levels:
            array = _select_levels(array, levels, variable, repairs, where)
        elif "level" in array.dims:
            raise UserError(
                f"source {where}: variable {layout.name!r} has levels; specify the channel as "
                f"{variable}@LEVEL"
            )
        days[variable] = find_days_of(steps, layout, unit.amount, daily, where, key, variable)
        units[variable], arrays[variable] = unit, array
    axis = _common_days(days, period, repairs, where)
    latitude, rows = _order_latitude(dataset, repairs, where)
    longitude, columns = _order_longitude(dataset, repairs, where)
    out = {}
    for variable, array in arrays.items():
        layout = layouts.get(variable, VariableLayout(variable))
        picked = days[variable].index[np.searchsorted(days[variable].day, axis)]
        array = _take_days(array, order[picked], days[variable].how, repairs)
        array = _pick(array, "latitude", rows)
        array = _pick(array, "longitude", columns)
        unit = units[variable]
        factor = unit.factor * layout.factor
        if (factor, unit.offset) != (1.0, 0.0):
            attrs = array.attrs  # arithmetic drops them
            array = (array * factor + unit.offset).assign_attrs(attrs)
        out[variable] = array
    if _TERRAIN in dataset and set(dataset[_TERRAIN].dims) == {"latitude", "longitude"}:
        terrain = dataset[_TERRAIN].transpose("latitude", "longitude")
        out[_TERRAIN] = _pick(_pick(terrain, "latitude", rows), "longitude", columns)
    places = {"time": axis, "latitude": latitude, "longitude": longitude}
    bare = {}
    for name, array in out.items():
        encoding = _reading(array, days.get(name))
        dims = list(array.dims)
        if "level" in dims:
            own = array["level"].values
            if not np.array_equal(places.setdefault("level", own), own):
                dims[dims.index("level")] = f"level_of_{name}"
                places[f"level_of_{name}"] = own
        bare[name] = xr.Variable(dims, array.data, encoding=encoding)
    result = xr.Dataset(bare, coords=places)
    notes = {f"{name}: {one.note}" for name, one in days.items()}
    result.attrs = {"repairs": list(dict.fromkeys(repairs)), "time": "; ".join(sorted(notes))}
    return result


def level_dimension(array: xr.DataArray) -> str | None:
    """Return the name of the level dimension of a variable of a canonical dataset, if any."""
    return next((str(d) for d in array.dims if str(d).startswith("level")), None)


def _reading(array: xr.DataArray, days: Days | None) -> dict[str, dict[str, int]]:
    """Return the amount read from the file per chunk of daily values, as xarray encodes it."""
    stored = array.attrs.get(_STORED)
    if days is None or stored is None:
        return {}
    count = days.index.shape[1]
    # Steps that are averaged or summed are in memory as read, and again in float64.
    together = 1 if count == 1 else 3 * count * array.data.chunks[0][0]
    rest = int(np.prod([n for d, n in array.sizes.items() if d != "time"]))
    whole = max(int(np.prod(list(stored.values()))), together * rest)
    return {"preferred_chunks": {"time": -(-whole // rest), "rest": rest}}


def _find(
    dataset: xr.Dataset,
    layout: VariableLayout,
    variable: str,
    repairs: list[str],
    where: str,
    key: str,
) -> xr.DataArray:
    """Return a variable with checked dimensions; other dimensions of one element are dropped."""
    if layout.name not in dataset:
        raise UserError(
            f"source {where}: variable {layout.name!r} ({variable}) is missing; found "
            f"{', '.join(sorted(map(str, dataset.data_vars))) or 'none'}; add its channels "
            f"to {key}.absent if the source does not have it"
        )
    array = dataset[layout.name]
    single = [d for d in array.dims if d not in _ALIASES and array.sizes[d] == 1]
    if single:
        repairs.append(f"{layout.name}: dimensions of one element dropped: {', '.join(single)}")
        array = array.isel(dict.fromkeys(single, 0), drop=True)
    found = set(array.dims) - {"level"}
    if found != {"time", "latitude", "longitude"}:
        raise UserError(
            f"source {where}: variable {layout.name!r} has dimensions {array.dims}, expected "
            f"(time, [level,] latitude, longitude) in any order"
        )
    return array


def _common_days(
    days: Mapping[str, Days],
    period: tuple[float, float] | None,
    repairs: list[str],
    where: str,
) -> np.ndarray:
    """Return the days of the period that every variable has."""
    axis = reduce(np.intersect1d, (one.day for one in days.values()))
    for variable, one in days.items():
        if one.left_out:
            repairs.append(f"{variable}: {one.left_out} left out")
    lost = {name: len(one.day) - len(axis) for name, one in days.items()}
    if any(lost.values()):
        lacking = ", ".join(f"{count} of {name}" for name, count in lost.items() if count)
        repairs.append(f"time: days that some variable lacks left out ({lacking})")
    if not len(axis):
        raise UserError(f"source {where}: no day has every variable")
    if period is not None:
        inside = axis[(axis >= period[0]) & (axis <= period[1])]
        if not len(inside):
            ends = (*period, axis[0], axis[-1])
            asked, until, first, last = (str(np.datetime64(int(day), "D")) for day in ends)
            raise UserError(
                f"data.period: the source has no data from {asked} to {until}; {where} has "
                f"{first} to {last}"
            )
        axis = inside
    return axis.astype(np.float64)


def _take_days(
    array: xr.DataArray, index: np.ndarray, how: str, repairs: list[str]
) -> xr.DataArray:
    """Select the steps of each day, `index` `(n, k)` positions, and combine them."""
    count = index.shape[1]
    stored = array.encoding.get("preferred_chunks") or {
        d: max(c) for d, c in array.chunksizes.items()
    }
    array = array.isel(time=_as_slice(index.reshape(-1)))
    step = array.dtype.itemsize * max(array.size // max(array.sizes["time"], 1), 1) * count
    length = count * _power_of_two(_CHUNK_BYTES / step, _CHUNK_DAYS)
    whole = {d: -1 for d in array.dims if d != "time"}
    array = array.chunk({"time": length, **whole})
    order = [d for d in ("time", "level", "latitude", "longitude") if d in array.dims]
    if order != list(array.dims):
        repairs.append(f"{array.name}: dimensions {array.dims} transposed")
        array = array.transpose(*order)
    if how == "take":
        return array.assign_attrs({_STORED: stored})
    data = array.data.map_blocks(
        _together,
        count,
        how,
        chunks=(tuple(c // count for c in array.data.chunks[0]), *array.data.chunks[1:]),
        dtype=np.float32,
        meta=np.empty((0,) * array.ndim, np.float32),
    )
    coords = {d: array[d] for d in order[1:] if d in array.coords}
    attrs = {_STORED: stored}
    return xr.DataArray(data, dims=array.dims, coords=coords, name=array.name, attrs=attrs)


def _together(block: np.ndarray, count: int, how: str) -> np.ndarray:
    """Sum or average the steps of each day, independently of the memory layout."""
    block = np.ascontiguousarray(block, dtype=np.float64)
    block = block.reshape(-1, count, *block.shape[1:])
    total = block[:, 0].copy()
    for step in range(1, count):
        total += block[:, step]
    return (total if how == "sum" else total / count).astype(np.float32)


def _power_of_two(wanted: float, most: int) -> int:
    return min(most, 2 ** max(0, int(np.log2(max(wanted, 1.0)))))


def _as_slice(index: np.ndarray) -> slice | np.ndarray:
    """Convert equally spaced positions to a slice, which backends read faster."""
    if len(index) < 2:
        return slice(int(index[0]), int(index[0]) + 1) if len(index) else slice(0, 0)
    step = int(index[1] - index[0])
    if step > 0 and (np.diff(index) == step).all():
        return slice(int(index[0]), int(index[-1]) + 1, step)
    return index


def _pick(array: xr.DataArray, dim: str, index: np.ndarray | None) -> xr.DataArray:
    return array if index is None else array.isel({dim: index})


def _rename(dataset: xr.Dataset, repairs: list[str], where: str) -> xr.Dataset:
    mapping = {}
    for canonical, aliases in _ALIASES.items():
        found = [name for name in aliases if name in dataset.dims]
        if found:
            mapping[found[0]] = canonical
        elif canonical != "level":
            raise UserError(
                f"source {where}: dimension {canonical!r} is missing; found "
                f"{', '.join(map(str, dataset.dims))}"
            )
    changed = {old: new for old, new in mapping.items() if old != new}
    if changed:
        repairs.append("renamed " + ", ".join(f"{old} to {new}" for old, new in changed.items()))
    return dataset.rename(changed)


def _select_levels(
    array: xr.DataArray, levels: Sequence[int], variable: str, repairs: list[str], where: str
) -> xr.DataArray:
    if "level" not in array.dims:
        raise UserError(
            f"source {where}: {array.name!r} ({variable}) has no levels, expected "
            f"{', '.join(map(str, levels))} hPa"
        )
    coordinate = array["level"]
    units = coordinate.attrs.get("units", "hPa")
    if units not in _LEVEL_FACTORS:
        raise UserError(f"source {where}: level has units {units!r}, expected hPa or Pa")
    values = coordinate.values.astype(np.float64) * _LEVEL_FACTORS[units]
    if _LEVEL_FACTORS[units] != 1.0:
        repairs.append(f"level: {units} converted to hPa")
    if len(np.unique(values)) != len(values):
        raise UserError(f"source {where}: a level occurs twice; found {_numbers(values)} hPa")
    index = []
    for level in levels:
        match = np.flatnonzero(np.abs(values - level) < 0.01)
        if len(match) == 0:
            raise UserError(
                f"source {where}: level {level} hPa of {variable} is missing; found "
                f"{_numbers(values)} hPa"
            )
        index.append(int(match[0]))
    return array.isel(level=index).assign_coords(level=list(levels))


def _order_latitude(
    dataset: xr.Dataset, repairs: list[str], where: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return latitudes from north to south, and the rows in that order, `None` if unchanged."""
    rows = None
    values = _coordinate(dataset, "latitude", where)
    if (np.abs(values) > 90 + 1e-6).any():
        raise UserError(
            f"source {where}: found latitude {values[np.abs(values) > 90][0]:g}, expected "
            f"-90 to 90"
        )
    steps = np.diff(values)
    if (steps > 0).all():
        repairs.append("latitude: south to north reversed to north to south")
        rows, values = np.arange(len(values))[::-1], values[::-1]
    elif not (steps < 0).all():
        raise UserError(f"source {where}: latitude is not monotonic")
    gap = max(np.abs(np.diff(values)).max(), 1e-6)
    if values[0] < 90 - gap or values[-1] > -90 + gap:
        raise UserError(
            f"source {where}: latitude reaches from {values[0]:g} to {values[-1]:g}, expected a "
            f"global grid"
        )
    return np.clip(values, -90.0, 90.0), rows


def _order_longitude(
    dataset: xr.Dataset, repairs: list[str], where: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return longitudes eastwards from 0, and the columns in that order, `None` if unchanged."""
    found = _coordinate(dataset, "longitude", where)
    values = np.mod(found, 360.0)
    values[values > 360.0 - 1e-6] = 0.0
    order = np.argsort(values, kind="stable")
    keep = np.concatenate([[True], np.diff(values[order]) > 1e-6])
    if not keep.all():
        if (~keep).sum() > 1:
            raise UserError(f"source {where}: longitudes occur more than once")
        repairs.append("longitude: repeated meridian dropped")
        order = order[keep]
    if not np.array_equal(values, found):
        repairs.append("longitude: wrapped into 0..360")
    sorted_before = np.array_equal(order, np.arange(len(found)))
    if not sorted_before:
        repairs.append("longitude: sorted")
    values = values[order]
    spacing = 360.0 / len(values)
    if len(values) < 4 or np.abs(np.diff(values) - spacing).max() > 0.01 * spacing:
        raise UserError(
            f"source {where}: {len(values)} longitudes from {values[0]:g} to {values[-1]:g} are "
            f"not equally spaced around the globe"
        )
    return values, None if sorted_before else order


def _coordinate(dataset: xr.Dataset, name: str, where: str) -> np.ndarray:
    if name not in dataset.coords:
        raise UserError(f"source {where}: coordinate {name!r} has no values")
    values = np.asarray(dataset[name].values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"source {where}: coordinate {name!r} has a missing value")
    return values


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{v:g}" for v in values)
