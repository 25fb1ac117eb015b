"""Reader of any NetCDF file or Zarr store that follows the CF conventions.

A variable is found by the recipe (`variables`: name, units, factor, hours, stamp), otherwise by
its WeatherBench2 name, otherwise by its CF standard name. The time that a value covers is taken
from the recipe, otherwise from the bounds of the time axis, otherwise from `cell_methods`; the
direction of longwave radiation from its short name, as ECMWF's `ttr`, or its standard name.
Dimensions are found by their usual names, by the attributes `standard_name` and `axis`, or by the
recipe (`dimensions`).

Repaired and recorded: as in `sources.canonical`; a scalar date becomes a dimension of one step.
Refused: two variables of one standard name, units that are unknown or not stated, several steps
per day without information on the time that they cover, a climatology, grids other than latitude
and longitude, calendars without real dates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from data_modules.sources.canonical.axes import grid_dimensions, refuse_swath
from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.longwave import OLR, upward_factor
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.opening import find_files, is_zarr, open_netcdf, open_zarr
from slams.config.schema import SourceVariableConfig
from slams.errors import UserError
from slams.variables import ON_LEVELS, STANDARD_NAMES

__all__ = ["find_names", "name_dimensions", "open_cf", "variable_layout"]

# Further standard names of each variable; values of the downward flux have the other sign.
_OTHER_NAMES = {
    "total_precipitation_24hr": (
        "precipitation_flux",
        "precipitation_amount",
        "lwe_thickness_of_precipitation_amount",
    ),
    "outgoing_longwave_radiation": (
        "toa_net_upward_longwave_flux",
        "toa_net_downward_longwave_flux",
    ),
}
_AXES = {
    "time": ("time", "T"),
    "level": ("air_pressure", "Z"),
    "latitude": ("latitude", "Y"),
    "longitude": ("longitude", "X"),
}


def open_cf(reading: Reading) -> xr.Dataset:
    """Open a CF source lazily.

    Args:
        reading: What is requested, with `config.variables` and `config.dimensions` where the file
            lacks information.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: The source is missing, lacks information, or cannot be made canonical.
    """
    config, key = reading.config, reading.key
    files = find_files(config, "a NetCDF file or a Zarr store", key)
    if is_zarr(files[0]):
        if len(files) > 1:
            raise UserError(f"{key}.path: {reading.path}: expected one Zarr store, found more")
        dataset = open_zarr(files[0], "a Zarr store", key)
    else:
        dataset = open_netcdf(files, key, reading.repairs, config.dimensions.time or None)
    refuse_swath(dataset, reading)
    dataset = name_dimensions(dataset, reading)
    if "time" not in dataset.dims and "valid_time" in dataset.coords:
        dataset = dataset.drop_vars("time", errors="ignore").rename(valid_time="time")
    if "time" not in dataset.dims:
        if "time" not in dataset.coords:
            raise reading.fault("found no time, expected dates")
        dataset = dataset.expand_dims("time")
    if "climatology" in dataset["time"].attrs:
        raise reading.fault("time is that of a climatology, expected individual days")
    mapped = {one.variable: one for one in config.variables}
    layout = {
        variable: variable_layout(dataset, variable, mapped.get(variable), reading)
        for variable in reading.variables
    }
    attributes = ("title", "institution", "source", "references", "license")
    return canonicalise(dataset, layout, reading, attributes)


def name_dimensions(dataset: xr.Dataset, reading: Reading) -> xr.Dataset:
    """Rename dimensions found by the recipe or by their attributes to canonical names.

    Args:
        dataset: An opened dataset; those found by their usual names are left to `canonicalise`.
        reading: What is requested, with `config.dimensions`.

    Raises:
        UserError: The recipe names a dimension that does not exist.
    """
    dataset = grid_dimensions(dataset, reading)
    renamed: dict[Any, str] = {}
    for canonical, (standard, axis) in _AXES.items():
        name = getattr(reading.config.dimensions, canonical)
        if name:
            if name not in dataset.dims and name not in dataset.coords:
                raise UserError(
                    f"{reading.key}.dimensions.{canonical}: {name!r} is not a dimension; found "
                    f"{', '.join(map(str, dataset.dims))}"
                )
            found = [name]
        else:
            coords = [n for n in dataset.coords if dataset[n].dims == (n,) or not dataset[n].dims]
            found = [n for n in coords if dataset[n].attrs.get("standard_name") == standard]
            if not found:
                found = [n for n in coords if dataset[n].attrs.get("axis") == axis]
        if len(found) == 1 and found[0] != canonical and canonical not in dataset.variables:
            renamed[found[0]] = canonical
    return dataset.rename(renamed)


def variable_layout(
    dataset: xr.Dataset, variable: str, section: SourceVariableConfig | None, reading: Reading
) -> VariableLayout:
    """Return the layout of a variable: as in the recipe, otherwise as the file states.

    Args:
        dataset: The dataset with the dimension `time`.
        variable: Canonical name of the variable.
        section: The variable's section of the recipe, or `None`.
        reading: What is requested, for messages.

    Raises:
        UserError: No variable of the file, or more than one, has its name or standard name.
    """
    if section is not None and section.name:
        name = section.name
    elif variable in dataset:
        name = variable
    else:
        name, _ = _by_standard_name(dataset, variable, reading)
    factor = 1.0
    if variable == OLR and name in dataset:
        factor = upward_factor(name, dataset[name].attrs)
    hours, stamp, fixed = _covers(dataset, name)
    units = ""
    if section is not None:
        units = section.units
        # A factor of the recipe says all of the direction.
        factor = factor if section.factor == 1.0 else section.factor
        if section.stamp:
            hours, stamp, fixed = (
                (None if section.hours < 0 else section.hours),
                section.stamp,
                True,
            )
        elif section.hours >= 0:
            hours, fixed = section.hours, True
    return VariableLayout(name, units, bool(units), factor, hours, stamp, fixed)


def find_names(dataset: xr.Dataset, variable: str) -> list[tuple[str, float]]:
    """Find the variables of a file that have the standard name of a variable.

    Args:
        dataset: The dataset, with levels in the dimension `level`.
        variable: Canonical name of the variable.

    Returns:
        Their names and factors, -1 for a flux that is positive downwards.
    """
    known = (STANDARD_NAMES[variable], *_OTHER_NAMES.get(variable, ()))
    return [
        (str(name), upward_factor(str(name), array.attrs) if variable == OLR else 1.0)
        for name, array in dataset.data_vars.items()
        if array.attrs.get("standard_name") in known
        and ("level" in array.dims) == (variable in ON_LEVELS)
    ]


def _by_standard_name(dataset: xr.Dataset, variable: str, reading: Reading) -> tuple[str, float]:
    found = find_names(dataset, variable)
    if len(found) == 1:
        return found[0]
    there = ", ".join(sorted(map(str, dataset.data_vars))) or "none"
    if not found:
        raise reading.fault(
            f"no variable is named {variable} or has its standard name; found {there}; add it to "
            f"{reading.key}.variables, or its channels to {reading.key}.absent"
        )
    raise reading.fault(
        f"{' and '.join(name for name, _ in found)} both have the standard name of {variable}; "
        f"add one of them to {reading.key}.variables"
    )


def _covers(dataset: xr.Dataset, name: str) -> tuple[float | None, str, bool]:
    """Return hours, stamp and whether they are known, from time bounds or `cell_methods`."""
    if name not in dataset:
        return 0.0, "start", False
    methods = str(dataset[name].attrs.get("cell_methods", ""))
    if "time: point" in methods or dataset[name].attrs.get("GRIB_stepType") == "instant":
        return 0.0, "start", True
    bounds = dataset["time"].attrs.get("bounds") or dataset["time"].encoding.get("bounds")
    if bounds in dataset and dataset.sizes["time"]:
        try:
            first = dataset[bounds].isel(time=0).values.astype("datetime64[s]")
            stamp = dataset["time"].values[0].astype("datetime64[s]")
        except (TypeError, ValueError, AttributeError):
            return None, "start", False
        hours = float((first[1] - first[0]) / np.timedelta64(3600, "s"))
        share = float((stamp - first[0]) / np.timedelta64(3600, "s")) / hours if hours else 0.0
        place = {0.0: "start", 0.5: "middle", 1.0: "end"}.get(round(share, 3))
        if hours > 0 and place:
            return hours, place, True
    # A method without the position of the time stamp is unambiguous only for daily values.
    return (None if "time:" in methods else 0.0), "start", False
