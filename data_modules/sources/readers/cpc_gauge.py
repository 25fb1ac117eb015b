"""Reader of NOAA CPC's global unified gauge analysis of precipitation (NetCDF, one file per year).

Layout (https://psl.noaa.gov/data/gridded/data.cpc.globalprecip.html): `precip(time, lat 360:
89.75..-89.75, lon 720: 0.25..359.75)` in mm, "hours since 1900-01-01", missing -9.96921e+36 over
the ocean and Antarctica. A value is the total of the gauges' local day, whose end depends on the
country (12 UTC for much of the world), with the date of the analysis.

Recorded: the convention of the day; that values are missing over the ocean, so that the channel
has gaps. Refused: a field without missing values or with zeros over the ocean (which must have
been filled in), files of different grids, duplicate days, years that overlap, unknown units.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.opening import find_files, open_netcdf

__all__ = ["open_cpc_gauge"]

_RAIN = "total_precipitation_24hr"
_LAYOUT = {_RAIN: VariableLayout("precip", hours=24)}
# Smallest share of missing points: 70 % of the Earth is ocean, less on an equal-angle grid.
_LEAST_MISSING = 0.4


def open_cpc_gauge(reading: Reading) -> xr.Dataset:
    """Open files of the gauge analysis lazily.

    Args:
        reading: What is requested, only precipitation; `config.path` may be a pattern,
            `precip.*.nc`.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: A file is missing or cannot be read, the ocean has values, or the dataset
            cannot be made canonical.
    """
    expected = "a NetCDF file of the CPC gauge analysis, precip.YYYY.nc"
    files = find_files(reading.config, expected, reading.key)
    dataset = open_netcdf(files, reading.key, reading.repairs)
    out = canonicalise(dataset, _LAYOUT, reading)
    if _RAIN in out:
        share = float(np.isnan(out[_RAIN].isel(time=0).values).mean())
        if share < _LEAST_MISSING:
            raise reading.fault(
                f"{share:.0%} of the first day is missing, expected the whole ocean; a gauge "
                f"analysis has no values there, not zeros"
            )
        out.attrs["time"] = f"{_RAIN}: local-day total, dated by the gauges' local day"
        out.attrs["repairs"].append("precip: missing over the ocean, kept as missing")
    return out
