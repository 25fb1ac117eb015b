"""Small files of imagery in the layouts of public archives, for tests.

Each function names the public page that its layout was read from. Grids may be coarser than those
of the archives, where a test needs no more; what could not be confirmed is marked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

__all__ = [
    "CERES_LATITUDE",
    "CERES_LONGITUDE",
    "NOAA_LATITUDE",
    "NOAA_LONGITUDE",
    "write_ceres",
    "write_hirs",
    "write_noaa",
]

NOAA_LATITUDE = np.linspace(90, -90, 73)
NOAA_LONGITUDE = 2.5 * np.arange(144)
CERES_LATITUDE = np.arange(-89.5, 90)
CERES_LONGITUDE = np.arange(0.5, 360)
_MISSING = -9.96921e36


def write_noaa(
    path: Path,
    times: np.ndarray,
    values: np.ndarray,
    latitude: np.ndarray = NOAA_LATITUDE,
    longitude: np.ndarray = NOAA_LONGITUDE,
    packed: bool = True,
) -> Path:
    """Write NOAA's interpolated, uninterpolated or twice-daily OLR.

    Layout: https://psl.noaa.gov/data/gridded/data.interp_OLR.html and data.uninterp_OLR.html
    (2.5 degrees, 144 x 73, 90N to 90S, 0E to 357.5E, `olr.day.mean.nc`, W/m^2, gaps missing where
    nothing is interpolated). Packed files, which users still have, are as the header quoted in
    https://www.unidata.ucar.edu/mailing_lists/archives/netcdfgroup/2005/msg00042.html:
    `valid_range` is in W m-2 although the values are packed. Files of today are not packed; that
    they mark gaps by -9.96921e+36, as other files of NOAA PSL do, is not confirmed.
    """
    attributes = {
        "long_name": "Daily OLR",
        "units": "W/m^2",
        "var_desc": "Outgoing Longwave Radiation",
        "dataset": "NOAA Interpolated OLR",
        "valid_range": np.array([0.0, 500.0], np.float32),
        "actual_range": np.array([64.75, 344.5], np.float32),
        "precision": np.int16(2),
        "level_desc": "Other",
        "statistic": "Mean",
        "parent_stat": "Individual Obs",
    }
    dataset = xr.Dataset(
        {"olr": (("time", "lat", "lon"), values, attributes)},
        coords={
            "time": ("time", times, {"long_name": "Time", "delta_t": "0000-00-01 00:00:00"}),
            "lat": ("lat", latitude.astype(np.float32), {"units": "degrees_north"}),
            "lon": ("lon", longitude.astype(np.float32), {"units": "degrees_east"}),
        },
        attrs={"title": "Daily Mean Interpolated OLR", "Conventions": "COARDS"},
    )
    encoding: dict[str, object] = {"dtype": "float32", "missing_value": _MISSING}
    if packed:
        encoding = {
            "dtype": "int16",
            "scale_factor": np.float32(0.01),
            "add_offset": np.float32(327.65),
            "missing_value": np.int16(32766),
        }
    units = {"time": {"units": "hours since 1800-01-01 00:00:0.0", "dtype": "float64"}}
    dataset.to_netcdf(path, encoding={"olr": {**encoding, "_FillValue": None}, **units})
    return path


def write_ceres(
    path: Path,
    times: np.ndarray,
    values: np.ndarray,
    latitude: np.ndarray = CERES_LATITUDE,
    longitude: np.ndarray = CERES_LONGITUDE,
) -> Path:
    """Write CERES SYN1deg or EBAF daily fluxes, rows from the south.

    Layout: https://ceres.larc.nasa.gov/data/ (1 degree, `toa_lw_all_daily(time, lat, lon)`). That
    the stamp is the day's beginning in "days since 2000-03-01", that the fill value is -999, and
    the text of attributes are not confirmed.
    """
    names = {"toa_lw_all_daily": values, "toa_lw_clr_daily": values + 20}
    dataset = xr.Dataset(
        {
            name: (
                ("time", "lat", "lon"),
                one.astype(np.float32),
                {"long_name": f"Observed TOA Longwave Flux ({name})", "units": "W m-2"},
            )
            for name, one in names.items()
        },
        coords={
            "time": ("time", times),
            "lat": ("lat", latitude.astype(np.float32), {"units": "degrees_north"}),
            "lon": ("lon", longitude.astype(np.float32), {"units": "degrees_east"}),
        },
        attrs={"title": "CERES SYN1deg-Day", "Conventions": "CF-1.4"},
    )
    filled = {"_FillValue": np.float32(-999.0), "dtype": "float32"}
    encoding: dict[str, dict[str, object]] = dict.fromkeys(names, filled)
    encoding["time"] = {"units": "days since 2000-03-01 00:00:00", "dtype": "float32"}
    dataset.to_netcdf(path, encoding=encoding)
    return path


def write_hirs(
    path: Path, times: np.ndarray, values: np.ndarray, latitude: np.ndarray, longitude: np.ndarray
) -> Path:
    """Write the daily climate data record of OLR from HIRS, as NCEI distributes it.

    Layout: https://psl.noaa.gov/data/gridded/data.olrcdr.interp.html has the record (`olr`, 1
    degree, 360 x 180 at NCEI; PSL's own file has 360 x 181, with rows at the poles). The order
    `(time, lon, lat)`, rows from the south and "days since 1970-01-01" of NCEI's own files are not
    confirmed; the reader takes any.
    """
    olr = values.transpose(0, 2, 1).astype(np.float32)
    attributes = {
        "standard_name": "toa_outgoing_longwave_flux",
        "units": "W m-2",
        "cell_methods": "time: mean",
    }
    dataset = xr.Dataset(
        {"olr": (("time", "lon", "lat"), olr, attributes)},
        coords={
            "time": ("time", times, {"standard_name": "time", "bounds": "time_bnds"}),
            "lat": ("lat", latitude, {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", longitude, {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )
    encoding = {
        "olr": {"_FillValue": np.float32(-9999.0)},
        "time": {"units": "days since 1970-01-01 00:00:00", "dtype": "int32"},
    }
    dataset.to_netcdf(path, encoding=encoding)
    return path
