"""Reader of NOAA PSL NetCDF files: NCEP/NCAR reanalysis `air`, interpolated `olr`, `precip`.

Grid 2.5 degrees with pole rows (73 x 144, latitude 90..-90) for the reanalysis; time in "hours
since 1800-01-01"; levels in millibar; missing values -9.96921e+36.
"""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from pathlib import Path

import xarray as xr

from data_modules.sources.canonical import canonicalise
from slams.errors import UserError
from slams.fields import FieldSpec

__all__ = ["open_noaa_psl"]

_NAMES = {
    "temperature": "air",
    "outgoing_longwave_radiation": "olr",
    "total_precipitation_24hr": "precip",
}


def open_noaa_psl(
    path: str, channels: Sequence[FieldSpec], absent: Sequence[str] = ()
) -> xr.Dataset:
    """Opens NOAA PSL files lazily.

    Args:
        path: One NetCDF file, or a pattern with `*` of files that follow one another in time.
        channels: The channels wanted; temperature by level (hPa).
        absent: Names of channels that the source may lack.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: A file is missing or unreadable, or the dataset cannot be made canonical.
    """
    files = sorted(glob(path)) if "*" in path else [path]
    if not files or not Path(files[0]).exists():
        raise UserError(
            f"data.source.path: {path} is not there; expected a NetCDF file of NOAA PSL (see "
            f"data.source.origin for where it comes from)"
        )
    parts = []
    for file in files:
        if Path(file).is_dir():
            raise UserError(f"data.source.path: {file} is a directory, expected a NetCDF file")
        try:
            parts.append(xr.open_dataset(file, chunks={"time": 16}))
        except Exception as error:
            raise UserError(
                f"data.source.path: {file} cannot be read as NetCDF, it is truncated or of "
                f"another format ({type(error).__name__})"
            ) from error
    dataset = parts[0] if len(parts) == 1 else xr.concat(parts, dim="time", data_vars="minimal")
    out = canonicalise(dataset, _NAMES, channels, absent, path)
    for name in ("title", "References"):
        if name in dataset.attrs:
            out.attrs[name.lower()] = str(dataset.attrs[name])
    return out
