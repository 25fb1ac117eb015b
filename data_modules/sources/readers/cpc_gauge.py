"""Reader of NOAA CPC's global unified gauge analysis of precipitation (NetCDF, a file a year).

Layout (https://psl.noaa.gov/data/gridded/data.cpc.globalprecip.html): `precip(time, lat 360:
89.75..-89.75, lon 720: 0.25..359.75)` in mm, "hours since 1900-01-01", missing -9.96921e+36 over
the ocean and Antarctica. A value is the total of the gauges' own day, which ends at another hour
in each country (12 UTC for much of the world), under the date that the analysis gives it.

Recorded: the convention of the day; that values are missing over the ocean, which makes the
channel one with gaps. Refused: a field without missing values or with the ocean at zero (somebody
has filled it: missing is never zero), files of different grids, duplicate days, years that
overlap, unknown units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import Held
from data_modules.sources.files.opening import find_files, open_netcdf
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

__all__ = ["open_cpc_gauge"]

_RAIN = "total_precipitation_24hr"
_LAYOUT = {_RAIN: Held("precip", hours=24)}
# Seven tenths of the Earth are ocean; a grid of equal angles has more rows near the poles.
_LEAST_MISSING = 0.4


def open_cpc_gauge(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None,
    key: str,
) -> xr.Dataset:
    """Open files of the gauge analysis lazily.

    Args:
        config: The source; `path` may be a pattern, `precip.*.nc`.
        channels: The channels wanted, precipitation alone.
        period: First and last day wanted, days since 1970-01-01.
        key: Dotted key of the source in the recipe, for messages.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: A file is not there or cannot be read, the ocean is not missing, or the
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
                f"source {config.path}: {share:.0%} of the first day are missing, expected the "
                f"ocean to be; a gauge analysis says nothing of it, and missing is never zero"
            )
        out.attrs["time"] = f"{_RAIN}: local-day total, by the date of the gauges' own day"
        out.attrs["repairs"].append("precip: missing over the ocean, kept as missing")
    return out
