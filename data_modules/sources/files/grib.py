"""GRIB files, through cfgrib and eccodes (the extra `grib`).

A file may hold levels and surface fields, instants and accumulations: each set that fits into one
array over (time, level, latitude, longitude) is one dataset. Steps of forecasts, as those of
ERA5's accumulations, are put on the time at which they are valid.
"""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from slams.errors import UserError, first_line, install_extra

__all__ = ["is_grib", "open_grib"]


def is_grib(path: str) -> bool:
    """Return whether a local file begins as GRIB does, whatever its name."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(4) == b"GRIB"


def open_grib(path: str, key: str) -> list[xr.Dataset]:
    """Open a GRIB file lazily, without writing an index beside it.

    Args:
        path: The file.
        key: Dotted key of the source in the recipe, for messages.

    Returns:
        Datasets with the time dimension `valid_time`, each with one set of levels and times.

    Raises:
        UserError: The extra `grib` is not installed, or the file cannot be read.
    """
    try:
        import cfgrib
    except (ImportError, RuntimeError):  # cfgrib raises the latter without the C library
        raise UserError(
            f"{key}.path: {path} is GRIB and needs the extra `grib`, which is not installed; "
            f"{install_extra('grib')}, or convert it: grib_to_netcdf -o FILE.nc {path}"
        ) from None
    try:
        found = cfgrib.open_datasets(
            path, backend_kwargs={"indexpath": "", "time_dims": ["valid_time"]}
        )
    except Exception as error:
        raise UserError(
            f"{key}.path: {path} cannot be read as GRIB ({first_line(error)}); convert it: "
            f"grib_to_netcdf -o FILE.nc {path}"
        ) from error
    if not found:
        raise UserError(f"{key}.path: {path} has no GRIB messages")
    return [_with_dimensions(part.drop_vars(_irrelevant(part))) for part in found]


def _with_dimensions(part: xr.Dataset) -> xr.Dataset:
    """Give a single time or level the dimension that several have."""
    if "isobaricInhPa" in part.coords and "isobaricInhPa" not in part.dims:
        own = {
            name: array.expand_dims("isobaricInhPa")
            for name, array in part.data_vars.items()
            if array.attrs.get("GRIB_typeOfLevel") == "isobaricInhPa"
        }
        part = part.drop_vars("isobaricInhPa").assign(own)
    return part if "valid_time" in part.dims else part.expand_dims("valid_time")


def _irrelevant(part: xr.Dataset) -> list[str]:
    """Return scalar coordinates other than time, level and ensemble member."""
    kept = ("valid_time", "isobaricInhPa", "number")
    return [str(name) for name, one in part.coords.items() if not one.dims and name not in kept]
