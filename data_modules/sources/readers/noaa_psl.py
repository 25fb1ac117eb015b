"""Reader of NOAA PSL's NetCDF files: reanalysis, interpolated and CDR `olr`, `precip`.

Layout (https://psl.noaa.gov/data/gridded): `air(time, level, lat 73: 90..-90, lon 144: 0..357.5)`
K on any levels in millibar, daily means or four instants per day (attribute `statistic`); `uwnd`
and `vwnd` (m/s) and `shum` (kg/kg, only 1000 to 300 hPa) likewise in separate files; interpolated
`olr(time, lat 73, lon 144)` W m-2, daily means, or two satellite passes per day; the climate data
record of OLR on one degree. "hours since 1800-01-01", in old files "hours since 1-1-1". Values are
int16 with scale, offset and missing 32766 in old files, float32 with -9.96921e+36 in newer ones.
Interpolated OLR has no data from 1978-03-16 to 1978-12-31.

Repaired and recorded: names and units, two passes per day averaged, days of the known gap left out
where a file has them as missing. Refused: a reanalysis file that does not state whether several
steps per day are instants, a day with one of two passes, files of different grids or units,
duplicate days, missing levels, values that are not physical after unpacking.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.opening import find_files, open_netcdf

__all__ = ["open_noaa_psl"]

_OLR = "outgoing_longwave_radiation"
_NAMES = {
    "temperature": "air",
    "u_component_of_wind": "uwnd",
    "v_component_of_wind": "vwnd",
    "specific_humidity": "shum",
    "2m_temperature": "air",
    _OLR: "olr",
    "total_precipitation_24hr": "precip",
}
# Variables of the reanalysis: daily means, or instants, according to the attribute `statistic`.
_REANALYSIS = ("air", "uwnd", "vwnd", "shum")
# First and last day of the gap in the interpolated OLR: there was no satellite.
_GAP = (np.datetime64("1978-03-16"), np.datetime64("1978-12-31"))


def open_noaa_psl(reading: Reading) -> xr.Dataset:
    """Open NOAA PSL files lazily.

    Args:
        reading: What is requested; channels with levels by level (hPa), the files as one NetCDF
            file, a pattern, or a list of files to be joined along time.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: A file is missing or unreadable, or the dataset cannot be made canonical.
    """
    key = reading.key
    expected = f"a NetCDF file of NOAA PSL (see {key}.origin for its origin)"
    files, left_out = find_files(reading.config, expected, key), ""
    dataset = open_netcdf(files, key, reading.repairs)
    if any(c.variable == _OLR for c in reading.channels) and "olr" in dataset:
        dataset, left_out = _without_gap(dataset)
    layout = {variable: _variable_layout(dataset, name) for variable, name in _NAMES.items()}
    out = canonicalise(dataset, layout, reading, ("title", "References"))
    if left_out:
        out.attrs["repairs"].append(left_out)
    return out


def _variable_layout(dataset: xr.Dataset, name: str) -> VariableLayout:
    if name not in _REANALYSIS:
        return VariableLayout(name, hours=None)
    statistic = str(dataset[name].attrs.get("statistic", "")) if name in dataset else ""
    if statistic.lower() == "mean":
        return VariableLayout(name, hours=None)
    return VariableLayout(name, hours=0, fixed=statistic != "")


def _without_gap(dataset: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Leave out the days of the known gap, which some files contain as missing values."""
    times = dataset["time"].values if "time" in dataset.dims else np.empty(0)
    if not np.issubdtype(times.dtype, np.datetime64):
        return dataset, ""
    day = times.astype("datetime64[D]")
    gap = (day >= _GAP[0]) & (day <= _GAP[1])
    if not gap.any():
        return dataset, ""
    note = f"olr: {int(gap.sum())} steps from {_GAP[0]} to {_GAP[1]}, which have no data, left out"
    return dataset.isel(time=np.flatnonzero(~gap)), note
