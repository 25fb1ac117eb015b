"""Reader of nature runs: CF-packed Zarr, one array per variable, as `slams simulate` writes it.

A pattern may match several stores, the segments of one run, which are joined along time; years
between them are a gap on the time axis. Refused: segments that have a day in common, or differ in
grid, terrain, levels, units or time step; a segment that lacks a requested variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from data_modules.sample import sample_path
from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.joining import concatenate
from data_modules.sources.files.opening import find_files, open_decoded, refused
from slams.calendar.days import day_of
from slams.errors import UserError
from slams.variables import UNITS

__all__ = ["open_nature_run"]

# Daily means, dated by their day, and instants (`simulate.sampling: instants`).
_MEANS = {variable: VariableLayout(variable, hours=24) for variable in UNITS}
_INSTANTS = {variable: VariableLayout(variable) for variable in UNITS}
# Coordinates and fields without time that all segments share, with their names in messages.
_SHARED = {
    "latitude": "another grid (latitude)",
    "longitude": "another grid (longitude)",
    "level": "other levels",
    "surface_elevation": "another surface_elevation",
}


def open_nature_run(reading: Reading) -> xr.Dataset:
    """Open a nature run lazily.

    Args:
        reading: What is requested; `config.path` is a Zarr directory, a pattern with `*` that
            matches several, or `sample` for the embedded one.

    Returns:
        Canonical dataset (see `sources.canonical`), dask arrays in the chunks of the file.

    Raises:
        UserError: The directory is missing, is not a Zarr store or is incomplete, the dataset
            cannot be made canonical, or stores cannot be joined.
    """
    if reading.config.path == "sample":
        return _open_one(sample_path(), reading).daily
    expected = "a nature run (Zarr), make one with `slams simulate` or use `sample`"
    paths = find_files(reading.config, expected, reading.key)
    if len(paths) == 1:
        return _open_one(Path(paths[0]), reading).daily
    segments = []
    for path in paths:
        config = replace(reading.config, path=path)
        one = Reading(config, reading.channels, reading.key, step=reading.step)
        segments.append(_open_one(Path(path), one))
    return _join(segments, reading)


@dataclass(frozen=True, eq=False)
class _Segment:
    """One of the stores to be joined.

    Attributes:
        path: Path of the store, for messages.
        stored: The dataset as opened.
        daily: The dataset in canonical form, with all its days.
    """

    path: str
    stored: xr.Dataset
    daily: xr.Dataset


def _open_one(where: Path, reading: Reading) -> _Segment:
    """Open one store, as it is and in canonical form."""
    with refused(f"{reading.key}.path: {reading.path} cannot be opened as Zarr"):
        group = zarr.open_group(str(where), mode="r", use_consolidated=False)
        dataset = open_decoded(str(where), "zarr", consolidated=False)
    for variable in reading.variables:
        if variable in group:
            _check_chunks(group[variable], where / variable, reading)
    # Steps less than a day apart are instants, not daily means.
    layout = _INSTANTS if _step(dataset) < 1 else _MEANS
    daily = canonicalise(dataset, layout, reading, ("title", "source", "license"))
    return _Segment(reading.path, dataset, daily)


def _check_chunks(array: zarr.Array, folder: Path, reading: Reading) -> None:
    """Refuse a missing chunk where Zarr would silently read a number instead."""
    packed, fill = array.attrs.get("_FillValue"), array.fill_value
    missing = np.isscalar(packed) and fill == packed
    missing |= isinstance(fill, float | np.floating) and bool(np.isnan(fill))
    if missing or array.metadata.zarr_format != 3:
        return
    steps = array.shards or array.chunks
    counts = [-(-n // s) for n, s in zip(array.shape, steps, strict=True)]
    for index in product(*map(range, counts)):
        file = "/".join(["c", *map(str, index)])
        if not (folder / file).is_file():
            raise reading.fault(
                f"chunk {folder.name}/{file} is missing, the store is incomplete; copy it or make "
                f"it again"
            )


def _join(segments: Sequence[_Segment], reading: Reading) -> xr.Dataset:
    """Join stores along time, lazily.

    Args:
        segments: At least two, in any order, with all requested variables.
        reading: What is requested.

    Returns:
        Canonical dataset (see `canonical.form`). Its attribute `stores` lists the segments.

    Raises:
        UserError: Segments have days in common, differ in grid, levels, units or steps, or have
            no day of the period.
    """
    ordered = sorted(segments, key=lambda one: float(one.daily["time"].values[0]))
    for before, after in pairwise(ordered):
        last, first = before.daily["time"].values[-1], after.daily["time"].values[0]
        if first <= last:
            raise UserError(
                f"{reading.key}.path: {after.path} begins on {day_of(first)}, and {before.path} "
                f"has days until {day_of(last)}; stores to be joined must not have a day in common"
            )
    for other in ordered[1:]:
        difference = _difference(ordered[0], other, reading.variables)
        if difference:
            raise UserError(
                f"{reading.key}.path: {other.path} has {difference} than {ordered[0].path}; "
                f"stores to be joined must have the same grid, levels, units and steps"
            )
    shared = [name for name in _SHARED if name in ordered[0].daily.data_vars]
    joined = concatenate([ordered[0].daily, *(one.daily.drop_vars(shared) for one in ordered[1:])])
    for name in reading.variables:
        if name in joined:
            # The amount read per chunk (`canonical.form`) is the largest of the segments'.
            readings = [one.daily[name].encoding for one in ordered]
            joined[name].encoding = max(readings, key=_steps_read)
    every = [one.daily.attrs for one in ordered]
    names = dict.fromkeys(name for attrs in every for name in attrs if name != "repairs")
    # Each text once: title, source and license are usually the same in all segments.
    joined.attrs = {
        name: "; ".join(dict.fromkeys(attrs[name] for attrs in every if name in attrs))
        for name in names
    }
    joined.attrs["stores"] = ", ".join(one.path for one in ordered)
    joined.attrs["repairs"] = list(
        dict.fromkeys(text for attrs in every for text in attrs["repairs"])
    )
    return joined.isel(time=reading.of_period(joined["time"].values))


def _difference(first: _Segment, other: _Segment, variables: Sequence[str]) -> str:
    """Describe how a segment differs from the first; "" if it does not."""
    for name, words in _SHARED.items():
        ours, theirs = (one.stored.variables.get(name) for one in (first, other))
        if (ours is None) != (theirs is None):
            return words
        if ours is not None and not np.array_equal(ours.values, theirs.values):
            return words
    for name in variables:
        found = [str(one.stored[name].attrs.get("units")) for one in (other, first)]
        if found[0] != found[1]:
            return f"other units of {name} ({found[0]})"
    if _step(first.stored) != _step(other.stored):
        return "other steps (daily means, or instants)"
    if first.daily.attrs["time"] != other.daily.attrs["time"]:
        return "another definition of daily values"
    return ""


def _step(stored: xr.Dataset) -> float:
    """Return the time between the first steps (days); 1 where there are not two."""
    time = stored["time"].values if "time" in stored else np.empty(0)
    if len(time) < 2 or time.dtype.kind != "M":  # dates that are none are refused later
        return 1.0
    return float((time[1] - time[0]) / np.timedelta64(1, "D"))


def _steps_read(encoding: dict[str, dict[str, int]]) -> int:
    return encoding.get("preferred_chunks", {}).get("time", 0)
