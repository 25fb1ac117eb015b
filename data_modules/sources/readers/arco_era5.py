"""Reader of ARCO-ERA5's analysis-ready store (Zarr 2 despite the `v3` in its name).

Layout (https://github.com/google-research/arco-era5): hourly on a 0.25 degree grid, (time, level
37, latitude 721: 90..-90, longitude 1440: 0..359.75), one step per chunk, variables named as in
WeatherBench2. The time axis extends from 1900 into the future; the attributes `valid_time_start`
and `valid_time_stop` (both days inclusive, UTC) state the period with data. Outgoing longwave
radiation is minus `mean_top_net_long_wave_radiation_flux` (W m-2), or minus
`top_net_thermal_radiation` (J m-2 per hour); precipitation is in m per hour.

Repaired and recorded: extent of the time axis, signs and units. Refused: a store without these
attributes, attributes that are not dates or whose period is empty, days with missing hours,
unknown units, missing levels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from data_modules.sources.canonical.daily import decode_days
from data_modules.sources.canonical.form import as_slice, canonicalise
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.opening import open_zarr
from data_modules.sources.readers.era5 import era5_layout, with_terrain

__all__ = ["open_arco_era5"]


def open_arco_era5(reading: Reading) -> xr.Dataset:
    """Open an ARCO-ERA5 store lazily.

    Args:
        reading: What is requested.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: The store is missing, does not state the period of its data, or cannot be made
            canonical.
    """
    dataset = open_zarr(reading.path, "an ARCO-ERA5 store (Zarr)", reading.key)
    if "time" not in dataset.dims:
        raise reading.fault("dimension 'time' is missing")
    first, last = (_date(dataset, f"valid_time_{end}", reading) for end in ("start", "stop"))
    days, order = decode_days(dataset, replace(reading, repairs=[]))
    inside = (days >= first.astype(float)) & (days < last.astype(float) + 1)
    inside = np.sort(order[inside])
    if not len(inside):
        raise reading.fault(
            f"no step is between valid_time_start {first} and valid_time_stop {last}"
        )
    whole = len(days)
    dataset = with_terrain(dataset).isel(time=as_slice(inside))
    out = canonicalise(dataset, era5_layout(dataset, reading.step), reading)
    if len(inside) < whole:
        out.attrs["repairs"].append(
            f"time: {whole - len(inside)} of {whole} steps outside of {first} to {last}, which "
            f"have no data, left out"
        )
    return out


def _date(dataset: xr.Dataset, name: str, reading: Reading) -> np.datetime64:
    text = dataset.attrs.get(name)
    if text is None:
        raise reading.fault(
            f"attribute {name} is missing, which states the first or last day with data; the time "
            f"axis extends beyond it"
        )
    try:
        return np.datetime64(str(text)[:10], "D")
    except ValueError:
        raise reading.fault(
            f"attribute {name} is {text!r}, expected a date such as 2022-12-31"
        ) from None
