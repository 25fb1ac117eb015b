"""Reader of WeatherBench2's ERA5 and analysis stores (Zarr 2 or 3, a directory or an address).

Layout (https://weatherbench2.readthedocs.io, data guide): `temperature` K with dimensions (time,
level, latitude, longitude), or (time, level, longitude, latitude) in the stores of 64x32 and
240x121, likewise `u_component_of_wind`, `v_component_of_wind` (m s-1) and `specific_humidity`
(kg kg-1); latitude in either direction; longitude from 0, or from -180; 6-hourly; 13 levels from
50 to 1000 hPa (no store has 10 hPa). `total_precipitation_6hr`, `_24hr` in m, accumulated over the
hours that end at the time stamp: the total of a day is the one that ends at the next midnight.

Repaired and recorded: order of dimensions, direction of latitude, range of longitude, units
converted, units that are not stated (derived variables have none), incomplete days at the ends.
Refused: forecasts (dimension `prediction_timedelta`), days with missing steps, an hourly
accumulation at 6-hourly steps, missing levels, duplicate dates, unknown units.
"""

from __future__ import annotations

import xarray as xr

from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.opening import open_zarr
from data_modules.sources.readers.era5 import era5_layout, with_terrain

__all__ = ["open_weatherbench2"]


def open_weatherbench2(reading: Reading) -> xr.Dataset:
    """Open a WeatherBench2 store lazily.

    Args:
        reading: What is requested.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: The store is missing, contains forecasts, or cannot be made canonical.
    """
    dataset = open_zarr(reading.path, "a WeatherBench2 store (Zarr)", reading.key)
    if "prediction_timedelta" in dataset.dims:
        raise reading.fault(
            "found forecasts (dimension prediction_timedelta), expected an analysis or reanalysis"
        )
    return canonicalise(with_terrain(dataset), era5_layout(dataset, reading.step), reading)
