"""Reader of nature runs: CF-packed Zarr, one array per variable, as `slams simulate` writes it.

A pattern may match several stores, the segments of one run, which are joined along time; years
between them are a gap on the time axis. Refused: segments that have a day in common, or differ in
grid, terrain, levels, units or time step; a segment that lacks a requested variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from data_modules.sample import sample_path
from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.segments import Segment, join_segments
from data_modules.sources.files.opening import find_files
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.variables import UNITS

__all__ = ["open_nature_run"]

# Daily means, dated by their day, and instants (`simulate.sampling: instants`).
_MEANS = {variable: VariableLayout(variable, hours=24) for variable in UNITS}
_INSTANTS = {variable: VariableLayout(variable) for variable in UNITS}


def open_nature_run(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None,
    key: str,
) -> xr.Dataset:
    """Open a nature run lazily.

    Args:
        config: The source's section of the recipe; `path` is a Zarr directory, a pattern with `*`
            that matches several, or `sample` for the embedded one.
        channels: The channels to read.
        period: First and last day to read, days since 1970-01-01.
        key: Dotted key of the source in the recipe, for messages.

    Returns:
        Canonical dataset (see `sources.canonical`), dask arrays in the chunks of the file.

    Raises:
        UserError: The directory is missing, is not a Zarr store or is incomplete, the dataset
            cannot be made canonical, or stores cannot be joined.
    """
    if config.path == "sample":
        return _open_one(sample_path(), config, channels, period, key)[1]
    expected = "a nature run (Zarr), make one with `slams simulate` or use `sample`"
    paths = [Path(file) for file in find_files(config, expected, key)]
    if len(paths) == 1:
        return _open_one(paths[0], config, channels, period, key)[1]
    opened = [_open_one(path, config, channels, None, key) for path in paths]
    segments = [
        Segment(str(path), stored, daily)
        for path, (stored, daily) in zip(paths, opened, strict=True)
    ]
    wanted = dict.fromkeys(c.variable for c in channels if c.name not in config.absent)
    return join_segments(segments, list(wanted), period, config.path, key)


def _open_one(
    where: Path,
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None,
    key: str,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Open one store; return it as it is, and in canonical form."""
    path = "sample" if config.path == "sample" else str(where)
    absent = config.absent
    try:
        group = zarr.open_group(str(where), mode="r", use_consolidated=False)
        dataset = xr.open_dataset(str(where), engine="zarr", consolidated=False, cache=False)
    except Exception as error:
        raise UserError(f"{key}.path: {path} cannot be opened as Zarr ({error})") from error
    variables = dict.fromkeys(c.variable for c in channels if c.name not in absent)
    for variable in variables:
        if variable in group:
            _check_chunks(group[variable], where / variable, path)
    layout = _INSTANTS if _within_days(dataset) else _MEANS
    out = canonicalise(dataset, layout, channels, absent, path, key, config.daily, period)
    for name in ("title", "source", "license"):
        if name in dataset.attrs:
            out.attrs[name] = str(dataset.attrs[name])
    return dataset, out


def _within_days(dataset: xr.Dataset) -> bool:
    """Return whether steps are less than a day apart: they are then instants, not daily means."""
    time = dataset["time"].values if "time" in dataset else np.empty(0)
    return bool(len(time) > 1 and (np.diff(time[:2]) < np.timedelta64(1, "D")).all())


def _check_chunks(array: zarr.Array, folder: Path, path: str) -> None:
    """Refuse a missing chunk where Zarr would silently read a number instead."""
    packed = array.attrs.get("_FillValue")
    if packed is not None and array.fill_value == packed:
        return
    if np.issubdtype(array.dtype, np.floating) and np.isnan(array.fill_value):
        return
    if array.metadata.zarr_format != 3:
        return
    steps = array.shards or array.chunks
    counts = [-(-n // s) for n, s in zip(array.shape, steps, strict=True)]
    for index in product(*map(range, counts)):
        file = "/".join(["c", *map(str, index)])
        if not (folder / file).is_file():
            raise UserError(
                f"source {path}: chunk {folder.name}/{file} is missing, the store is incomplete; "
                f"copy it or make it again"
            )
