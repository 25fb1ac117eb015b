"""Reader of ARM's constrained variational analysis of one column (NetCDF, 3-hourly).

Three modalities at one location: `Temp` (K) on pressure levels, `Ts_Air` (degrees Celsius) and
`Prec` (mm/hour, the mean of the interval that ends with the step), and `TOA_LW_Up` (W m-2).
Time is days since 1970-01-01 UTC; -9999 and -8888 are missing; `phis` (m2 s-2) is the
geopotential of the ground.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from data_modules.sources.files.opening import refused
from data_modules.sources.stations.reports.request import ReportRequest
from data_modules.sources.stations.reports.table import StationReports
from slams.errors import UserError

__all__ = ["read_arm_column"]

# Name and units in the file, and offset of the conversion.
_NAMES = {
    "temperature": ("Temp", "K", 0.0),
    "2m_temperature": ("Ts_Air", "C", 273.15),
    "total_precipitation_24hr": ("Prec", "mm/hour", 0.0),
    "outgoing_longwave_radiation": ("TOA_LW_Up", "W/m2", 0.0),
}
_GRAVITY = 9.80665
_MISSING = "missing values left out"


def read_arm_column(request: ReportRequest) -> StationReports:
    """Read the reports of a column.

    Args:
        request: What is requested; `config.path` is the NetCDF file.

    Raises:
        UserError: The file is not such a column, or a variable has other units.
    """
    file = request.files(".cdf", ".nc")[0]
    variables = [variable for variable in request.variables if variable in _NAMES]
    column = _open(file, variables)
    # Days as float32 are rounded by some seconds.
    minutes = column["time"].values + np.timedelta64(30, "s")
    time = minutes.astype("datetime64[m]").astype("datetime64[ns]")
    step = float(np.median(np.diff(time)) / np.timedelta64(1, "h"))
    parts = []
    for variable in variables:
        name, units, offset = _NAMES[variable]
        array = column[name]
        if array.attrs.get("units") != units:
            raise UserError(
                f"station archive {file}: {name} has units {array.attrs.get('units')!r}, "
                f"expected {units}"
            )
        hours = step if variable == "total_precipitation_24hr" else 0.0
        for level in column["lev"].values if "lev" in array.dims else (np.nan,):
            values = array.sel(lev=level) if "lev" in array.dims else array
            part = pd.DataFrame({"time": time, "hours": hours, "variable": variable})
            part["level"], part["value"] = float(level), values.values * (hours or 1.0) + offset
            request.repairs[_MISSING] += int(part["value"].isna().sum())
            parts.append(request.inside(part.dropna(subset="value")))
    place = {
        "station_id": "ARM",
        "latitude": float(column["y"]),
        "longitude": float(column["x"]),
        "elevation": float(column["phis"]) / _GRAVITY if "phis" in column else np.nan,
    }
    return request.reports(
        [part.assign(**place) for part in parts],
        {"day": "UTC; instants, precipitation over the interval that ends with the step"},
    )


def _open(file: Path, variables: list[str]) -> xr.Dataset:
    """Open the column without its horizontal dimensions."""
    wrong = f"station archive {file}: cannot be read as NetCDF"
    with refused(wrong), warnings.catch_warnings():
        # There are two fill values, both of which mean missing.
        warnings.simplefilter("ignore", xr.SerializationWarning)
        column = xr.open_dataset(file, engine="netcdf4").load()
    for name in ("time", "x", "y", *(_NAMES[variable][0] for variable in variables)):
        if name not in column:
            raise UserError(
                f"station archive {file}: {name!r} is missing, expected the column analysis of "
                f"ARM; found {', '.join(map(str, list(column.variables)[:8]))}..."
            )
    if (column.sizes["x"], column.sizes["y"]) != (1, 1):
        raise UserError(f"station archive {file}: found several columns, expected one")
    return column.isel(x=0, y=0)
