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

from collections.abc import Sequence

import numpy as np
import xarray as xr

from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.files.opening import open_zarr
from data_modules.sources.readers.era5 import era5_layout, with_terrain
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

__all__ = ["open_arco_era5"]


def open_arco_era5(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None,
    key: str,
) -> xr.Dataset:
    """Open an ARCO-ERA5 store lazily.

    Args:
        config: The source's section of the recipe; `daily` selects the daily value of instants.
        channels: The channels to read.
        period: First and last day to read, days since 1970-01-01.
        key: Dotted key of the source in the recipe, for messages.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: The store is missing, does not state the period of its data, or cannot be made
            canonical.
    """
    path = config.path
    dataset = open_zarr(path, "an ARCO-ERA5 store (Zarr)", key)
    if "time" not in dataset.dims:
        raise UserError(f"source {path}: dimension 'time' is missing")
    first, last = (_date(dataset, f"valid_time_{end}", path) for end in ("start", "stop"))
    times = dataset["time"].values
    inside = np.flatnonzero((times >= first) & (times < last + np.timedelta64(1, "D")))
    if not len(inside):
        raise UserError(
            f"source {path}: no step is between valid_time_start {first} and valid_time_stop "
            f"{last}"
        )
    whole = len(times)
    # Consecutive steps as a slice, whose size does not depend on their number.
    run = inside[-1] - inside[0] + 1 == len(inside)
    steps = slice(int(inside[0]), int(inside[-1]) + 1) if run else inside
    dataset = with_terrain(dataset).isel(time=steps)
    layout = era5_layout(dataset)
    out = canonicalise(dataset, layout, channels, config.absent, path, key, config.daily, period)
    if len(inside) < whole:
        out.attrs["repairs"].append(
            f"time: {whole - len(inside)} of {whole} steps outside of {first} to {last}, which "
            f"have no data, left out"
        )
    return out


def _date(dataset: xr.Dataset, name: str, path: str) -> np.datetime64:
    text = dataset.attrs.get(name)
    if text is None:
        raise UserError(
            f"source {path}: attribute {name} is missing, which states the first or last day with "
            f"data; the time axis extends beyond it"
        )
    try:
        return np.datetime64(str(text)[:10], "D")
    except ValueError:
        raise UserError(
            f"source {path}: attribute {name} is {text!r}, expected a date such as 2022-12-31"
        ) from None
