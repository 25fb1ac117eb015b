"""One state on the model's grid from a dataset that a user gives, such as a background.

A variable is found by its WeatherBench2 name, its CF standard name or a short name
(`slams.variables.OTHER_NAMES`). The rest is the conversion of a source to canonical form
(`sources.canonical`): names, order and direction of dimensions, levels, units, global grid; and
the regridding of `slams prepare`. The day is that of the state's valid time: start plus lead time
of a forecast, and the day that its bounds cover where there are some.

Values without units have those of `slams.variables`, which their range confirms. Precipitation
without units is refused, because its range cannot tell m from mm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr

from data_modules.preparation.blocks import clear_noise, read_block
from data_modules.preparation.regridding import Regridder
from data_modules.preparation.target_grid import dataset_grid
from data_modules.sources.canonical.axes import (
    DIMENSIONS,
    missing_levels,
    pressure_levels,
)
from data_modules.sources.canonical.form import VALID_RANGE, canonicalise
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.readers.cf import find_names, variable_layout
from data_modules.sources.readers.names import find_name, name_axes, state_units
from data_modules.sources.stations.reports.units import MISTAKEN
from data_modules.sources.stations.reports.user_table import HIGHEST_PRESSURE
from slams.config.schema import SourceConfig, SourceVariableConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.variables import ON_LEVELS, find_variable

__all__ = ["GivenState", "read_state"]

# Coordinates with the time from the start of a forecast.
_LEADS = ("prediction_timedelta", "lead_time", "step", "forecast_period")
# Day of a state without a time, while it is converted.
_NO_TIME = np.datetime64("1970-01-01", "ns")


@dataclass(frozen=True)
class GivenState:
    """One state on the model's grid.

    Attributes:
        values: `(C, H, W)` float32 physical, NaN where missing.
        day: Days since 1970-01-01 00 UTC, a whole number or the time of a step; NaN if the dataset
            has no time.
        notes: Repairs made, in words.
    """

    values: np.ndarray
    day: float
    notes: tuple[str, ...]


def read_state(
    dataset: xr.Dataset,
    channels: Sequence[FieldSpec],
    grid: LatLonGrid,
    where: str,
    absent: Sequence[str] = (),
    step: float = 1.0,
) -> GivenState:
    """Convert a dataset of one time to a state on the model's grid.

    Args:
        dataset: Any regular global grid, at most one time; in memory or lazy.
        channels: The `C` channels of the model.
        grid: The grid of the model.
        where: Name of the dataset, for messages.
        absent: Channels, or variables, that are missing (NaN) in the state if the dataset does
            not have them.
        step: Length of the steps of the model (days).

    Raises:
        UserError: The dataset lacks a variable or level that is not under `absent`, has several
            times, a grid that is not global, unknown units, or values out of range.
    """
    if not isinstance(dataset, xr.Dataset):
        raise UserError(f"{where}: found {type(dataset).__name__}, expected an xarray Dataset")
    reading = Reading(
        SourceConfig(kind="cf", path=where), tuple(channels), "", label=where, step=step
    )
    dataset = _on_levels(name_axes(dataset, reading))
    dataset, dated = _at_one_time(dataset, reading)
    names = {v: find_name(dataset, v, reading) for v in reading.variables}
    lacking = _lacking(dataset, names, reading, absent)
    reading = replace(reading, config=replace(reading.config, absent=lacking))
    layouts = {}
    for variable in reading.variables:
        name = names[variable]
        assert name is not None
        dataset = state_units(dataset, name, variable, reading)
        factor = dict(find_names(dataset, variable)).get(name, 1.0)
        section = SourceVariableConfig(variable, name, factor=factor)
        layouts[variable] = variable_layout(dataset, variable, section, reading)
    found = canonicalise(dataset, layouts, reading)
    values = read_block(found, channels, 0, 1, lacking, where)
    _check_range(values[0], channels, where)
    lacking += _empty(values[0], reading, [*absent, *lacking])
    notes = list(found.attrs["repairs"])
    regridder = Regridder(dataset_grid(found), grid, reading.config.regrid)
    values = regridder.fields(values)
    if not regridder.identity:
        rows, columns = regridder.source.shape
        notes.append(f"regridded from {rows} x {columns} points ({regridder.method})")
    noise = clear_noise(values, channels)
    if noise:
        notes.append(f"{noise} negative values of humidity set to zero")
    if lacking:
        notes.append(f"missing: {', '.join(lacking)}")
    for spec, field in zip(channels, values[0], strict=True):
        gaps = int(np.isnan(field).sum())
        if gaps and spec.name not in lacking:
            notes.append(f"{spec.name}: {gaps} of {field.size} points missing")
    day = float(found["time"].values[0]) if dated else math.nan
    return GivenState(values[0], day, tuple(notes))


def _on_levels(dataset: xr.Dataset) -> xr.Dataset:
    """Turn a single level that is no dimension into one, for variables that have levels."""
    if "level" not in dataset.coords or "level" in dataset.dims:
        return dataset
    own = {
        name: array.expand_dims("level")
        for name, array in dataset.data_vars.items()
        if find_variable(str(name)) in ON_LEVELS
    }
    return dataset.drop_vars("level").assign(own)


def _at_one_time(dataset: xr.Dataset, reading: Reading) -> tuple[xr.Dataset, bool]:
    """Give a dataset its valid time as the only step of its time axis; return if it has one."""
    names = ("time", "valid_time", *_LEADS)
    axes = [name for name in names if name in dataset.coords]
    single = [name for name in names if name in dataset.dims]
    for name in single:
        if (number := dataset.sizes[name]) != 1:
            values = f", {_few(dataset[name])}" if number and name in axes else ""
            raise reading.fault(
                f"found {number} values of {name}{values}; expected one state: select one, for "
                f"example with .isel({name}=0)"
            )
    dataset = dataset.isel(dict.fromkeys(single, 0))
    start = next((name for name in ("valid_time", "time") if name in axes), None)
    value, attributes, encoding = _NO_TIME, {}, {}
    if start is not None:
        array = dataset[start]
        value, attributes, encoding = array.values[()], array.attrs, array.encoding
        lead = next((dataset[name].variable for name in axes if name in _LEADS), None)
        if start == "time" and lead is not None:
            value = value + _lead_time(lead, reading)
            reading.repairs.append("time: start of the forecast and its lead time added")
    bounds = attributes.get("bounds") or encoding.get("bounds")
    if bounds in dataset.coords:
        dataset = dataset.reset_coords(bounds)
    time = xr.Variable(("time",), np.array([value]), attributes, encoding)
    return dataset.drop_vars(axes).expand_dims("time").assign_coords(time=time), start is not None


def _lead_time(lead: xr.Variable, reading: Reading) -> np.timedelta64:
    """Return a lead time as a time difference; that of a file may be a number with units."""
    value, units = lead.values[()], lead.attrs.get("units")
    if isinstance(value, np.timedelta64):
        return value
    try:
        return pd.Timedelta(float(value), unit=units or "unknown").to_timedelta64()
    except (TypeError, ValueError):
        raise reading.fault(
            f"the lead time is {value} with the units {units!r}, expected units of time, such as "
            f"hours"
        ) from None


def _few(coordinate: xr.DataArray) -> str:
    """Return the first values of a coordinate as text, and the last one."""
    values = coordinate.values
    texts = [
        np.datetime_as_string(v, unit="m") if isinstance(v, np.datetime64) else str(v)
        for v in values
    ]
    return ", ".join(texts if len(texts) < 5 else [*texts[:2], "...", texts[-1]])


def _lacking(
    dataset: xr.Dataset, names: Mapping[str, str | None], reading: Reading, absent: Sequence[str]
) -> list[str]:
    """Return the channels that the dataset lacks.

    Raises:
        UserError: One of them is not under `absent`, a variable on levels has none, a variable
            has a further dimension, or nothing is left.
    """
    lacking: list[str] = []
    there = ", ".join(sorted(map(str, dataset.data_vars))) or "nothing"
    for variable, name in names.items():
        own = [spec for spec in reading.channels if spec.variable == variable]
        if name is None:
            missing, what = own, f"variable {variable} is missing; found {there}"
        else:
            array = dataset[name]
            _refuse_dimensions(array, reading)
            if variable not in ON_LEVELS:
                continue
            levels = [spec.level or 0 for spec in own]
            if "level" not in array.dims:
                raise reading.fault(
                    f"{name!r} ({variable}) has no levels, expected the coordinate level with "
                    f"{', '.join(map(str, levels))} hPa"
                )
            values = pressure_levels(array, variable, reading)
            if values.max(initial=0.0) > HIGHEST_PRESSURE:
                raise reading.fault(
                    f"found a level of {values.max():g} hPa; set the attribute units of the "
                    f"coordinate level, such as Pa"
                )
            without = missing_levels(values, levels)
            missing = [spec for spec in own if spec.level in without]
            what = (
                f"level {', '.join(map(str, without))} hPa of {variable} is missing; found "
                f"{', '.join(f'{value:g}' for value in values)} hPa"
            )
        if any(spec.name not in absent and variable not in absent for spec in missing):
            raise reading.fault(
                f'{what}; add it, or leave absent channels to the climatology (missing="'
                f'climatology")'
            )
        lacking += [spec.name for spec in missing]
    if len(lacking) == len(reading.channels):
        raise reading.fault(
            f"found {there}, none of which is a channel of the model: "
            f"{', '.join(spec.name for spec in reading.channels)}"
        )
    return lacking


def _empty(values: np.ndarray, reading: Reading, absent: Sequence[str]) -> list[str]:
    """Return the channels of which `(C, H, W)` has no value, as `_lacking` those without fields.

    Raises:
        UserError: One of them is not under `absent`, or nothing is left.
    """
    lacking = []
    for spec, field in zip(reading.channels, values, strict=True):
        if np.isfinite(field).any():
            continue
        if not {spec.name, spec.variable} & set(absent):
            raise reading.fault(
                f"{spec.name} has no value, all of it is missing; leave absent channels to the "
                f'climatology (missing="climatology")'
            )
        lacking.append(spec.name)
    if len(lacking) == len(reading.channels):
        raise reading.fault("found no value in any channel of the model")
    return [name for name in lacking if name not in reading.config.absent]


def _refuse_dimensions(array: xr.DataArray, reading: Reading) -> None:
    """Refuse a further dimension, such as that of the members of an ensemble."""
    for name in array.dims:
        if name not in DIMENSIONS and array.sizes[name] > 1:
            raise reading.fault(
                f"{array.name!r} has {array.sizes[name]} values along {name}, expected one state: "
                f"select one with .isel({name}=0), or take .mean({name!r})"
            )


def _check_range(values: np.ndarray, channels: Sequence[FieldSpec], where: str) -> None:
    """Refuse values `(C, H, W)` outside the range of their units."""
    for spec, field in zip(channels, values, strict=True):
        low, high = VALID_RANGE[spec.units]
        wrong = field[(field < low) | (field > high)]
        if wrong.size:
            example = f", such as {MISTAKEN[spec.units]}" if spec.units in MISTAKEN else ""
            raise UserError(
                f"{where}: {spec.name} has the value {wrong[0]:g}, expected {low:g} to {high:g} "
                f"{spec.units}; state the units of its values in its attribute units{example}, "
                f"and mask fill values"
            )
