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

from collections.abc import Sequence

import numpy as np
import xarray as xr

from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.files.opening import find_files, open_netcdf
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

__all__ = ["open_cpc_gauge"]

_RAIN = "total_precipitation_24hr"
_LAYOUT = {_RAIN: VariableLayout("precip", hours=24)}
# Smallest share of missing points: 70 % of the Earth is ocean, less on an equal-angle grid.
_LEAST_MISSING = 0.4


def open_cpc_gauge(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None,
    key: str,
) -> xr.Dataset:
    """Open files of the gauge analysis lazily.

    Args:
        config: The source's section of the recipe; `path` may be a pattern, `precip.*.nc`.
        channels: The channels to read, only precipitation.
        period: First and last day to read, days since 1970-01-01.
        key: Dotted key of the source in the recipe, for messages.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: A file is missing or cannot be read, the ocean has values, or the
            dataset cannot be made canonical.
    """
    files = find_files(config, "a NetCDF file of the CPC gauge analysis, precip.YYYY.nc", key)
    dataset = open_netcdf(files, key)
    out = canonicalise(
        dataset, _LAYOUT, channels, config.absent, config.path, key, config.daily, period
    )
    if _RAIN in out:
        share = float(np.isnan(out[_RAIN].isel(time=0).values).mean())
        if share < _LEAST_MISSING:
            raise UserError(
                f"source {config.path}: {share:.0%} of the first day is missing, expected the "
                f"whole ocean; a gauge analysis has no values there, not zeros"
            )
        out.attrs["time"] = f"{_RAIN}: local-day total, dated by the gauges' local day"
        out.attrs["repairs"].append("precip: missing over the ocean, kept as missing")
    return out
