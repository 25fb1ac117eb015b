"""The canonical form of a source, and the repairs that lead to it.

A canonical dataset has dimensions (time, [level,] latitude, longitude); time in days since
1970-01-01 00 UTC, increasing; level in hPa in the order asked for; latitude from north to south;
longitude in [0, 360), increasing; values in the units of `slams.variables`. What had to be
changed is listed in the attribute `repairs`; what cannot be repaired without guessing (duplicate
dates, unknown units) is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from slams.errors import UserError
from slams.fields import FieldSpec

__all__ = ["UNIT_CONVERSIONS", "VALID_RANGE", "canonicalise"]

_ALIASES = {
    "time": ("time", "valid_time"),
    "level": ("level", "pressure_level", "isobaricInhPa", "plev", "lev"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
}

# Canonical units: spellings and the (factor, offset) that lead to them.
UNIT_CONVERSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "K": {
        **dict.fromkeys(("K", "degK", "kelvin", "Kelvin", "degrees K"), (1.0, 0.0)),
        **dict.fromkeys(("degC", "C", "celsius", "Celsius", "deg C", "°C"), (1.0, 273.15)),
    },
    "mm day-1": {
        **dict.fromkeys(
            ("mm day-1", "mm/day", "mm d-1", "mm", "kg m-2 day-1", "kg m-2"), (1.0, 0.0)
        ),
        **dict.fromkeys(("m", "m day-1", "m/day", "m of water equivalent"), (1000.0, 0.0)),
        **dict.fromkeys(("kg m-2 s-1", "kg m**-2 s**-1", "mm s-1", "mm/s"), (86400.0, 0.0)),
    },
    "W m-2": dict.fromkeys(("W m-2", "W/m^2", "W/m2", "W m**-2", "W m^-2"), (1.0, 0.0)),
}

# Values outside are wrong units, a wrong sign or an unmasked fill value, not weather.
VALID_RANGE = {"K": (100.0, 400.0), "mm day-1": (-1.0, 5000.0), "W m-2": (0.0, 700.0)}

# Optional, without time: lets stations correct for their elevation above the model's terrain.
_TERRAIN = "surface_elevation"

_LEVEL_FACTORS = {
    **dict.fromkeys(("hPa", "millibar", "millibars", "mb", "mbar"), 1.0),
    **dict.fromkeys(("Pa", "pascal", "pascals"), 0.01),
}


def canonicalise(
    dataset: xr.Dataset,
    names: Mapping[str, str],
    channels: Sequence[FieldSpec],
    absent: Sequence[str],
    where: str,
) -> xr.Dataset:
    """Brings a dataset into canonical form, lazily.

    Args:
        dataset: As opened, values decoded (scale, offset, fill value), time decoded.
        names: Canonical variable name to the name in the file, of every variable looked for.
        channels: The channels wanted.
        absent: Names of channels that may be missing from the file; they are left out.
        where: The file, for messages.

    Returns:
        The variables of `channels` that are there; levels are those wanted; and
        `surface_elevation` (m) if the file has it. The attribute `repairs` lists what was
        changed.

    Raises:
        UserError: A dimension, variable, level or unit is missing or unknown, a date or
            coordinate is duplicate, or the grid is not global.
    """
    repairs: list[str] = []
    dataset = _rename(dataset, repairs, where)
    wanted = [c for c in channels if c.name not in absent]
    variables: dict[str, xr.DataArray] = {}
    for variable in dict.fromkeys(c.variable for c in wanted):
        name = names.get(variable, variable)
        if name not in dataset:
            raise UserError(
                f"source {where}: variable {name!r} ({variable}) is missing; found "
                f"{', '.join(sorted(map(str, dataset.data_vars))) or 'none'}; name its channels "
                f"under data.source.absent if the source does not have it"
            )
        array = _convert_units(dataset[name], variable, wanted, repairs, where)
        levels = [c.level for c in wanted if c.variable == variable and c.level is not None]
        if levels:
            array = _select_levels(array, levels, variable, repairs, where)
        elif "level" in array.dims:
            raise UserError(
                f"source {where}: variable {name!r} has levels; write the channel as "
                f"{variable}@LEVEL"
            )
        order = [d for d in ("time", "level", "latitude", "longitude") if d in array.dims]
        if len(order) != array.ndim:
            raise UserError(
                f"source {where}: variable {name!r} has dimensions {array.dims}, expected "
                f"(time, [level,] latitude, longitude) in any order"
            )
        if order != list(array.dims):
            repairs.append(f"{name}: dimensions {array.dims} transposed")
        variables[variable] = array.transpose(*order)
    if not variables:
        raise UserError(f"source {where}: every channel asked for is under data.source.absent")
    if _TERRAIN in dataset and set(dataset[_TERRAIN].dims) == {"latitude", "longitude"}:
        variables[_TERRAIN] = dataset[_TERRAIN].transpose("latitude", "longitude")
    out = xr.Dataset(variables).drop_attrs(deep=False)
    out = _order_time(out, repairs, where)
    out = _order_latitude(out, repairs, where)
    out = _order_longitude(out, repairs, where)
    out.attrs = {"repairs": list(dict.fromkeys(repairs))}
    return out


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


def _convert_units(
    array: xr.DataArray,
    variable: str,
    channels: Sequence[FieldSpec],
    repairs: list[str],
    where: str,
) -> xr.DataArray:
    target = next(c.units for c in channels if c.variable == variable)
    found = array.attrs.get("units")
    known = UNIT_CONVERSIONS[target]
    if found not in known:
        raise UserError(
            f"source {where}: {array.name!r} has units {found!r}, expected {target} (or one of "
            f"{', '.join(known)})"
        )
    factor, offset = known[found]
    if (factor, offset) == (1.0, 0.0):
        return array
    repairs.append(f"{array.name}: {found} converted to {target}")
    return array * factor + offset


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


def _order_time(dataset: xr.Dataset, repairs: list[str], where: str) -> xr.Dataset:
    times = dataset["time"].values
    if times.dtype == object:  # cftime, for calendars or epochs that numpy cannot hold
        times = np.array([np.datetime64(t.isoformat()) for t in times])
    if not np.issubdtype(times.dtype, np.datetime64) or np.isnat(times).any():
        raise UserError(f"source {where}: time could not be decoded into dates; check its units")
    if len(times) == 0:
        raise UserError(f"source {where}: there is not a single date in it")
    days = (times - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
    order = np.argsort(days, kind="stable")
    twice = np.flatnonzero(np.diff(days[order]) == 0)
    if len(twice):
        date = np.datetime_as_string(times[order][twice[0]], unit="s")
        raise UserError(
            f"source {where}: {date} occurs more than once ({len(twice)} duplicates in all); "
            f"remove the duplicates"
        )
    dataset = dataset.assign_coords(time=days)
    if not np.array_equal(order, np.arange(len(days))):
        repairs.append("time: unordered dates sorted")
        dataset = dataset.isel(time=order)
    return dataset


def _order_latitude(dataset: xr.Dataset, repairs: list[str], where: str) -> xr.Dataset:
    values = _coordinate(dataset, "latitude", where)
    if (np.abs(values) > 90 + 1e-6).any():
        raise UserError(f"source {where}: latitude {values[np.abs(values) > 90][0]:g} is not one")
    steps = np.diff(values)
    if (steps > 0).all():
        repairs.append("latitude: south to north turned into north to south")
        dataset, values = dataset.isel(latitude=slice(None, None, -1)), values[::-1]
    elif not (steps < 0).all():
        raise UserError(f"source {where}: latitude neither increases nor decreases throughout")
    gap = max(np.abs(np.diff(values)).max(), 1e-6)
    if values[0] < 90 - gap or values[-1] > -90 + gap:
        raise UserError(
            f"source {where}: latitude reaches from {values[0]:g} to {values[-1]:g}, expected a "
            f"global grid"
        )
    return dataset.assign_coords(latitude=np.clip(values, -90.0, 90.0))


def _order_longitude(dataset: xr.Dataset, repairs: list[str], where: str) -> xr.Dataset:
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
    if not np.array_equal(order, np.arange(len(found))):
        repairs.append("longitude: sorted")
        dataset = dataset.isel(longitude=order)
    values = values[order]
    spacing = 360.0 / len(values)
    if len(values) < 4 or np.abs(np.diff(values) - spacing).max() > 0.01 * spacing:
        raise UserError(
            f"source {where}: {len(values)} longitudes from {values[0]:g} to {values[-1]:g} are "
            f"not equally spaced around the globe"
        )
    return dataset.assign_coords(longitude=values)


def _coordinate(dataset: xr.Dataset, name: str, where: str) -> np.ndarray:
    if name not in dataset.coords:
        raise UserError(f"source {where}: coordinate {name!r} has no values")
    values = np.asarray(dataset[name].values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"source {where}: coordinate {name!r} holds a missing value")
    return values


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{v:g}" for v in values)
