"""Reader of nature runs: CF-packed Zarr, one array per variable, as `slams simulate` writes it.

A pattern may match several stores, the segments of one run, which are joined along time; years
between them are a gap on the time axis. Refused: segments that have a day in common, or differ in
grid, terrain, levels, units or time step; a segment that lacks a requested variable.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from data_modules.sample import sample_path
from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.canonical.segments import Segment, join_segments
from data_modules.sources.files.opening import find_files
from slams.errors import UserError
from slams.variables import UNITS

__all__ = ["open_nature_run"]

# Daily means, dated by their day, and instants (`simulate.sampling: instants`).
_MEANS = {variable: VariableLayout(variable, hours=24) for variable in UNITS}
_INSTANTS = {variable: VariableLayout(variable) for variable in UNITS}


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
        segments.append(_open_one(Path(path), Reading(config, reading.channels, reading.key)))
    return join_segments(segments, reading)


def _open_one(where: Path, reading: Reading) -> Segment:
    """Open one store, as it is and in canonical form."""
    try:
        group = zarr.open_group(str(where), mode="r", use_consolidated=False)
        dataset = xr.open_dataset(str(where), engine="zarr", consolidated=False, cache=False)
    except Exception as error:
        raise UserError(
            f"{reading.key}.path: {reading.path} cannot be opened as Zarr ({error})"
        ) from error
    for variable in reading.variables:
        if variable in group:
            _check_chunks(group[variable], where / variable, reading)
    layout = _INSTANTS if _within_days(dataset) else _MEANS
    daily = canonicalise(dataset, layout, reading, ("title", "source", "license"))
    return Segment(reading.path, dataset, daily)


def _within_days(dataset: xr.Dataset) -> bool:
    """Return whether steps are less than a day apart: they are then instants, not daily means."""
    time = dataset["time"].values if "time" in dataset else np.empty(0)
    return bool(len(time) > 1 and (np.diff(time[:2]) < np.timedelta64(1, "D")).all())


def _check_chunks(array: zarr.Array, folder: Path, reading: Reading) -> None:
    """Refuse a missing chunk where Zarr would silently read a number instead."""
    packed = array.attrs.get("_FillValue")
    missing = packed is not None and array.fill_value == packed
    missing |= bool(np.issubdtype(array.dtype, np.floating) and np.isnan(array.fill_value))
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
