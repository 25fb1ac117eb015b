"""Reader of ERA5 as the Climate Data Store delivers it: NetCDF since 2024, before, and GRIB.

Layout (https://confluence.ecmwf.int/display/CKB/GRIB+to+netCDF+conversion+on+new+CDS+and+ADS+systems):
`t`, `u`, `v`, `q` on (valid_time, pressure_level, latitude, longitude), levels in hPa; `t2m`,
`sp`, `tp`, `ttr` without levels, in files of their own by `GRIB_stepType`; a scalar `number`,
`expver(valid_time)`; standard names that are "unknown" or wrong. Before 2024 `time`, `level`, and
`expver` as a dimension. A file has any times, variables and levels: all files of a source, given
by a pattern or `files`, are put together variable by variable, in levels and in time.

What is accumulated (`tp` in m, `ttr` in J m-2) or a mean rate (`avg_tprate`, `avg_tnlwrf`) covers
the hour that ends at its time stamp, that of 00 UTC so belongs to the day before
(https://confluence.ecmwf.int/display/CKB/ERA5+data+documentation). Fluxes are positive downwards.

Repaired and recorded: names, preliminary data (`canonical.versions`), steps that two files have,
coordinates in float32 and float64. Refused: a step type that its variable does not have, as in
monthly means; days without all their hours; several ensemble members; levels that two files have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from data_modules.sources.canonical.axes import rename
from data_modules.sources.canonical.form import as_slice, canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.longwave import OLR, upward_factor
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.joining import join_files, same_coordinate
from data_modules.sources.files.opening import find_files, open_parts
from data_modules.sources.readers.era5 import GRAVITY

__all__ = ["SHORT_NAMES", "open_era5_cds"]

# Short names in order of preference, and the units that the archive documents.
SHORT_NAMES = {
    "temperature": {"t": "K"},
    "u_component_of_wind": {"u": "m s**-1"},
    "v_component_of_wind": {"v": "m s**-1"},
    "specific_humidity": {"q": "kg kg**-1"},
    "2m_temperature": {"t2m": "K", "2t": "K"},
    "surface_pressure": {"sp": "Pa"},
    "total_precipitation_24hr": {
        "tp": "m",
        "avg_tprate": "kg m**-2 s**-1",
        "mtpr": "kg m**-2 s**-1",
    },
    OLR: {"ttr": "J m**-2", "avg_tnlwrf": "W m**-2", "mtnlwrf": "W m**-2"},
}
# Values of `GRIB_stepType`: of fluxes, and of all other variables.
_OF_HOURS, _INSTANT = ("accum", "avg"), ("instant",)
_FLUXES = ("total_precipitation_24hr", OLR)
# Coordinates without a meaning for a field of one time and level.
_KEPT = ("time", "level", "latitude", "longitude", "expver", "number")


@dataclass(frozen=True)
class _Part:
    """One dataset of a file, with canonical names of dimensions."""

    file: str
    dataset: xr.Dataset


def open_era5_cds(reading: Reading) -> xr.Dataset:
    """Open files of ERA5 lazily.

    Args:
        reading: What is requested; `config.path` may be a pattern, or `config.files` be given.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: A file is missing or cannot be read, no file has a variable, or they cannot be
            joined or made canonical.
    """
    key = reading.key
    files = find_files(reading.config, "NetCDF or GRIB files of ERA5", key)
    parts = [
        _Part(file, _plain(dataset, replace(reading, label=f"source {file}")))
        for file in files
        for dataset in open_parts(file, key)
    ]
    pieces = []
    for variable in reading.variables:
        name = _name_in_files(parts, variable, reading)
        own = replace(reading, channels=[c for c in reading.wanted if c.variable == variable])
        joined = _joined(parts, name, own)
        layout = {variable: _layout(joined[name], name, variable, own)}
        pieces.append(canonicalise(_with_terrain(joined, parts), layout, own))
    return _together(pieces, reading)


def _plain(dataset: xr.Dataset, reading: Reading) -> xr.Dataset:
    """Give the dimensions their canonical names, with time and level among them."""
    if "valid_time" in dataset.variables and dataset["valid_time"].ndim < 2:
        dataset = dataset.set_coords("valid_time").drop_vars("time", errors="ignore")
        dataset = dataset if "valid_time" in dataset.dims else dataset.expand_dims("valid_time")
    elif "time" in dataset.coords and "time" not in dataset.dims:
        dataset = dataset.expand_dims("time")
    for name in ("pressure_level", "isobaricInhPa", "level"):
        if name in dataset.coords and not dataset[name].dims:
            dataset = dataset.expand_dims(name)
    dataset = rename(dataset, replace(reading, repairs=[]))
    if "expver" in dataset.variables and not dataset["expver"].dims:
        same = np.full(dataset.sizes["time"], dataset["expver"].values)
        dataset = dataset.assign_coords(expver=("time", same))
    return dataset.drop_vars([name for name in dataset.coords if name not in _KEPT])


def _name_in_files(parts: Sequence[_Part], variable: str, reading: Reading) -> str:
    found = {str(name) for part in parts for name in part.dataset.data_vars}
    for name in SHORT_NAMES[variable]:
        if name in found:
            return name
    raise reading.fault(
        f"no file has {' or '.join(SHORT_NAMES[variable])} ({variable}); found "
        f"{', '.join(sorted(found)) or 'none'}; add its channels to {reading.key}.absent if the "
        f"source does not have it"
    )


def _joined(parts: Sequence[_Part], name: str, reading: Reading) -> xr.Dataset:
    """Join one variable of all files: files of the same levels along time, then the levels."""
    groups: dict[tuple[float, ...], list[_Part]] = {}
    for part in parts:
        if name not in part.dataset:
            continue
        array = part.dataset[name]
        levels = tuple(array["level"].values.tolist()) if "level" in array.dims else ()
        groups.setdefault(tuple(sorted(levels)), []).append(_Part(part.file, part.dataset[[name]]))
    joined = [
        join_files(
            [one.dataset.sortby("level") if levels else one.dataset for one in group],
            [one.file for one in group],
            reading.key,
            "time",
            reading.repairs,
        )
        for levels, group in groups.items()
    ]
    if len(joined) == 1:
        return joined[0]
    first, name_of_first = joined[0], next(iter(groups.values()))[0].file
    for other, group in zip(joined[1:], list(groups.values())[1:], strict=True):
        for axis in ("latitude", "longitude"):
            if not same_coordinate(first[axis], other[axis]):
                raise reading.fault(f"{group[0].file} has another {axis} than {name_of_first}")
    like = {axis: first[axis] for axis in ("latitude", "longitude")}
    joined = [one.assign_coords(like).chunk({"time": 16}) for one in joined]
    common = set.intersection(*(set(one["time"].values.tolist()) for one in joined))
    most = max(one.sizes["time"] for one in joined)
    if len(common) < most:
        reading.repairs.append(
            f"time: {most - len(common)} steps at which files lack levels of {name} left out"
        )
    if not common:
        raise reading.fault(f"the files with levels of {name} have no time in common")
    return xr.concat(
        joined,
        "level",
        join="inner",
        compat="override",
        coords="minimal",
        combine_attrs="override",
    )


def _layout(array: xr.DataArray, name: str, variable: str, reading: Reading) -> VariableLayout:
    step_type = str(array.attrs.get("GRIB_stepType", ""))
    expected = _OF_HOURS if variable in _FLUXES else _INSTANT
    if step_type and step_type not in expected:
        raise reading.fault(
            f"{name} has the step type {step_type!r}, expected {' or '.join(expected)}; monthly "
            f"and other means of ERA5 are not read"
        )
    factor = upward_factor(name, array.attrs) if variable == OLR else 1.0
    hours, stamp = (1.0, "end") if variable in _FLUXES else (0.0, "start")
    units = SHORT_NAMES[variable][name]
    return VariableLayout(name, units=units, factor=factor, hours=hours, stamp=stamp)


def _with_terrain(dataset: xr.Dataset, parts: Sequence[_Part]) -> xr.Dataset:
    """Add `surface_elevation` (m) where a file has the geopotential of the surface."""
    for part in parts:
        if "z" in part.dataset and "level" not in part.dataset["z"].dims:
            terrain = part.dataset["z"].isel(time=0, drop=True).squeeze(drop=True)
            terrain = terrain.drop_vars("expver", errors="ignore")
            if all(same_coordinate(dataset[d], terrain[d]) for d in terrain.dims):
                like = {d: dataset[d] for d in terrain.dims}
                return dataset.assign(surface_elevation=terrain.assign_coords(like) / GRAVITY)
    return dataset


def _together(pieces: Sequence[xr.Dataset], reading: Reading) -> xr.Dataset:
    """Put canonical datasets of one variable each together, on the days that all have."""
    first = pieces[0]
    days = first["time"].values
    for piece in pieces[1:]:
        days = np.intersect1d(days, piece["time"].values)
        for axis in ("latitude", "longitude"):
            if not same_coordinate(first[axis], piece[axis]):
                one, other = (next(iter(p.data_vars)) for p in (first, piece))
                raise reading.fault(f"{other} has another {axis} than {one}")
    if not len(days):
        raise reading.fault("no day has every variable")
    out = []
    for piece in pieces:
        name = next(iter(piece.data_vars))
        lost = piece.sizes["time"] - len(days)
        if lost:
            reading.repairs.append(f"time: {lost} days of {name} that another lacks left out")
            piece = piece.isel(time=as_slice(np.searchsorted(piece["time"].values, days)))
        if "level" in piece.dims and not np.array_equal(
            piece["level"].values, _first_levels(pieces)
        ):
            piece = piece.rename(level=f"level_of_{name}")
        piece = piece.assign_coords({axis: first[axis] for axis in ("latitude", "longitude")})
        out.append(piece)
    joined = xr.merge(out, join="exact", compat="override", combine_attrs="override")
    notes = "; ".join(sorted(piece.attrs["time"] for piece in pieces))
    joined.attrs = {"repairs": list(dict.fromkeys(reading.repairs)), "time": notes}
    return joined


def _first_levels(pieces: Sequence[xr.Dataset]) -> np.ndarray:
    return next(piece["level"].values for piece in pieces if "level" in piece.dims)
