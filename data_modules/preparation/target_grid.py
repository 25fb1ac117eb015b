"""The grid of a training store, chosen by the key `grid` of its (first) source."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import xarray as xr
import zarr

from data_modules.sample import sample_path
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.grid import LatLonGrid

__all__ = ["dataset_grid", "regular_grid", "target_grid"]


def target_grid(config: SourceConfig, source: xr.Dataset, key: str) -> LatLonGrid:
    """Return the grid to which a source is regridded.

    Args:
        config: `config.grid` is `native`, `sample`, `LATxLON`, or the path of a training store,
            of another Zarr store or of a NetCDF file.
        source: Canonical dataset, whose own grid is `native`.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: The key's value is not a grid.
    """
    name = config.grid
    if name == "native":
        return dataset_grid(source)
    if match := re.fullmatch(r"(\d+)x(\d+)", name):
        return regular_grid(int(match[1]), int(match[2]), key)
    path = sample_path() if name == "sample" else Path(name)
    if not path.exists():
        raise UserError(
            f"{key}.grid: found {name!r}, expected `native`, `sample`, LATxLON such as "
            f"32x64, or the path of a store or file; there is no such path"
        )
    return _file_grid(path, key)


def dataset_grid(source: xr.Dataset) -> LatLonGrid:
    """Return the grid of a canonical dataset."""
    return _grid(source["latitude"].values, source["longitude"].values)


def regular_grid(rows: int, columns: int, key: str = "data.source") -> LatLonGrid:
    """Return an equal-angle grid, latitudes at the centres of their bands, longitude from 0.

    Args:
        rows: Number of latitudes.
        columns: Number of longitudes.
        key: Dotted key of the source in the recipe, for the message.

    Raises:
        UserError: There are fewer than 2 rows or 4 columns.
    """
    if rows < 2 or columns < 4:
        raise UserError(f"{key}.grid: found {rows}x{columns}, expected at least 2x4")
    step = 180.0 / rows
    return _grid(90.0 - step * (np.arange(rows) + 0.5), 360.0 / columns * np.arange(columns))


def _file_grid(path: Path, key: str) -> LatLonGrid:
    try:
        if path.is_dir():
            group = zarr.open_group(str(path), mode="r", use_consolidated=False)
            latitude, longitude = group["latitude"][:], group["longitude"][:]
        else:
            with xr.open_dataset(path, engine="netcdf4") as dataset:
                names = ("latitude", "longitude") if "latitude" in dataset else ("lat", "lon")
                latitude, longitude = (dataset[n].values for n in names)
    except Exception as error:
        raise UserError(
            f"{key}.grid: {path} has no latitude and longitude that can be read "
            f"({type(error).__name__})"
        ) from error
    latitude = np.sort(np.asarray(latitude, dtype=np.float64))[::-1]
    return _grid(latitude, np.sort(np.mod(np.asarray(longitude, dtype=np.float64), 360.0)))


def _grid(latitude: np.ndarray, longitude: np.ndarray) -> LatLonGrid:
    return LatLonGrid(
        torch.from_numpy(np.array(latitude, dtype=np.float64)),
        torch.from_numpy(np.array(longitude, dtype=np.float64)),
    )
