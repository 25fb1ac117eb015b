"""Reader of ARM's constrained variational analysis of one column (NetCDF, 3-hourly).

Three modalities at one location: `Temp` (K) on pressure levels, `Ts_Air` (degrees Celsius) and
`Prec` (mm/hour, the mean of the interval that ends with the step), and `TOA_LW_Up` (W m-2).
Time is days since 1970-01-01 UTC; -9999 and -8888 are missing; `phis` (m2 s-2) is the
geopotential of the ground.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from data_modules.sources.stations.reports.files import archive_files
from data_modules.sources.stations.reports.table import StationReports, station_reports
from slams.config.schema import StationSourceConfig
from slams.errors import UserError

__all__ = ["read_arm_column"]

# Name and units in the file, factor and offset of the conversion.
_NAMES = {
    "temperature": ("Temp", "K", 1.0, 0.0),
    "2m_temperature": ("Ts_Air", "C", 1.0, 273.15),
    "total_precipitation_24hr": ("Prec", "mm/hour", 1.0, 0.0),
    "outgoing_longwave_radiation": ("TOA_LW_Up", "W/m2", 1.0, 0.0),
}
_GRAVITY = 9.80665


def read_arm_column(
    config: StationSourceConfig,
    variables: Sequence[str],
    first: np.datetime64,
    last: np.datetime64,
    key: str,
) -> StationReports:
    """Read the reports of a column.

    Args:
        config: The archive's section of the recipe; `path` is the NetCDF file.
        variables: Variables to read.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: The file is not such a column, or a variable has other units.
    """
    (file,) = archive_files(config.path, (".cdf", ".nc"), key)[:1]
    try:
        with warnings.catch_warnings():
            # There are two fill values, both of which mean missing.
            warnings.simplefilter("ignore", xr.SerializationWarning)
            column = xr.open_dataset(file, engine="netcdf4").load()
    except Exception as error:
        raise UserError(
            f"station archive {file}: cannot be read as NetCDF ({type(error).__name__})"
        ) from None
    for name in ("time", "x", "y", *(_NAMES[v][0] for v in variables if v in _NAMES)):
        if name not in column:
            raise UserError(
                f"station archive {file}: {name!r} is missing, expected the column analysis of "
                f"ARM; found {', '.join(map(str, list(column.variables)[:8]))}..."
            )
    if (column.sizes["x"], column.sizes["y"]) != (1, 1):
        raise UserError(f"station archive {file}: found several columns, expected one")
    column = column.isel(x=0, y=0)
    # Days as float32 are rounded by some seconds.
    minutes = column["time"].values + np.timedelta64(30, "s")
    time = minutes.astype("datetime64[m]").astype("datetime64[ns]")
    hours = float(np.median(np.diff(time)) / np.timedelta64(1, "h"))
    parts, steps = [], 0
    for variable in variables:
        if variable not in _NAMES:
            continue
        name, units, factor, offset = _NAMES[variable]
        array = column[name]
        if array.attrs.get("units") != units:
            raise UserError(
                f"station archive {file}: {name} has units {array.attrs.get('units')!r}, "
                f"expected {units}"
            )
        rain = variable == "total_precipitation_24hr"
        for level in column["lev"].values if "lev" in array.dims else (np.nan,):
            values = array.sel(lev=level) if "lev" in array.dims else array
            steps += len(time)
            parts.append(
                pd.DataFrame(
                    {
                        "time": time,
                        "hours": hours if rain else 0.0,
                        "variable": variable,
                        "level": float(level),
                        "value": values.values * (hours if rain else factor) + offset,
                    }
                ).dropna(subset="value")
            )
    table = pd.concat(parts, ignore_index=True)
    missing = steps - len(table)
    inside = table["time"].between(first, last + np.timedelta64(2, "D"), inclusive="left")
    longitude, latitude = float(column["x"]), float(column["y"])
    table = table[inside].assign(
        station_id="ARM",
        latitude=latitude,
        longitude=longitude,
        elevation=float(column["phis"]) / _GRAVITY if "phis" in column else np.nan,
    )
    return station_reports(
        table,
        config.path,
        key,
        {"day": "UTC; instants, precipitation over the interval that ends with the step"},
        {"missing values left out": missing},
    )
