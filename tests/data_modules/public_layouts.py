"""Small archives in the exact published layouts: names, dimensions, units, packing.

Values are synthetic: a smooth field, moving weather-like waves, and noise, the same for the same
shape and seed. They are drawn in canonical order and written in the order of the layout.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr

__all__ = [
    "ERA5_LEVELS",
    "SLAMS_LEVELS",
    "arco_era5",
    "chaosbench",
    "cpc_gauge",
    "era5_cds",
    "fields",
    "moving_air",
    "noaa_olr",
    "noaa_reanalysis",
    "poles_grid",
    "weatherbench2",
]

ERA5_LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
SLAMS_LEVELS = (10, 50, 100, 200, 300, 500, 700, 850, 925, 1000)
FILL = np.float32(-9.96921e36)
_HOUR = np.timedelta64(1, "h")


def poles_grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the equiangular grid with poles of WeatherBench2: 121 x 240 has 1.5 degrees."""
    return np.linspace(90, -90, rows), 360 / columns * np.arange(columns)


def fields(
    hours: np.ndarray, latitude: np.ndarray, longitude: np.ndarray, mean: float, seed: int
) -> np.ndarray:
    """Make `(N, H, W)` float32: mean, warm tropics, season, moving waves and noise.

    Args:
        hours: `(N,)` hours since the first step.
        latitude: `(H,)` degrees.
        longitude: `(W,)` degrees.
        mean: Mean value.
        seed: Seed of the waves and the noise.
    """
    rng = np.random.default_rng(seed)
    y, x = np.deg2rad(latitude)[:, None], np.deg2rad(longitude)[None]
    out = np.zeros((len(hours), len(latitude), len(longitude)))
    for wave in range(1, 5):
        # One red series per wave, so that days are correlated.
        kicks = rng.standard_normal((len(hours), 2))
        series = np.zeros_like(kicks)
        for step in range(1, len(hours)):
            series[step] = 0.9 * series[step - 1] + 0.44 * kicks[step]
        out += series[:, 0, None, None] * np.cos(y) * np.cos(wave * x)
        out += series[:, 1, None, None] * np.cos(y) * np.sin(wave * x)
    season = np.cos(2 * np.pi * hours / (24 * 365.25))[:, None, None] * np.sin(y)
    noise = 0.3 * rng.standard_normal(out.shape)
    return (mean + 20 * np.cos(y) - 5 * season + 2 * out + noise).astype(np.float32)


def moving_air(
    hours: np.ndarray, latitude: np.ndarray, longitude: np.ndarray, levels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make eastward and northward wind (m s-1) and specific humidity (kg kg-1, never negative).

    Args:
        hours: `(N,)` hours since the first step.
        latitude: `(H,)` degrees.
        longitude: `(W,)` degrees.
        levels: Number of levels `L`.

    Returns:
        Three arrays `(N, L, H, W)` float32.
    """

    def stack(mean: float, seed: int) -> np.ndarray:
        parts = [fields(hours, latitude, longitude, mean + k, seed + k) for k in range(levels)]
        return np.stack(parts, axis=1)

    return stack(-10, 200), stack(-18, 300), np.maximum(stack(-14, 400), 0) * np.float32(1e-3)


def weatherbench2(
    path: Path,
    days: int = 12,
    rows: int = 7,
    columns: int = 12,
    order: tuple[str, str] = ("longitude", "latitude"),
    southward: bool = False,
    west: bool = False,
    zarr_format: int = 2,
    start: str = "1959-01-01",
    step: int = 6,
    consolidated: bool = True,
) -> xr.Dataset:
    """Write a small `1959-2023_01_10-6h-240x121_equiangular_with_poles_conservative.zarr`.

    Args:
        path: Directory to write.
        days: Days, at `step` hours.
        rows: Latitudes, poles among them.
        columns: Longitudes.
        order: Order of the horizontal dimensions; the stores of 1.5 degrees have longitude first.
        southward: Latitude from 90 to -90.
        west: Longitude from -180.
        zarr_format: 2, as published, or 3.
        start: First day.
        step: Hours between two steps.
        consolidated: Whether to write consolidated metadata, as published.

    Returns:
        The dataset in canonical order: time, level, latitude 90..-90, longitude 0..360.
    """
    latitude, longitude = poles_grid(rows, columns)
    hours = np.arange(0, 24 * days, step)
    time = np.datetime64(start, "ns") + hours * _HOUR
    levels = [fields(hours, latitude, longitude, 230 + k, k) for k in range(len(ERA5_LEVELS))]
    aloft = moving_air(hours, latitude, longitude, len(ERA5_LEVELS))
    rain = np.maximum(fields(hours, latitude, longitude, -18, 90), 0) * 1e-3
    whole = np.cumsum(np.pad(rain, ((24 // step, 0), (0, 0), (0, 0))), axis=0, dtype=np.float64)
    plane = ("time", "latitude", "longitude")
    dataset = xr.Dataset(
        {
            "temperature": (("time", "level", *plane[1:]), np.stack(levels, axis=1)),
            "u_component_of_wind": (("time", "level", *plane[1:]), aloft[0]),
            "v_component_of_wind": (("time", "level", *plane[1:]), aloft[1]),
            "specific_humidity": (("time", "level", *plane[1:]), aloft[2]),
            "2m_temperature": (plane, fields(hours, latitude, longitude, 270, 91)),
            "surface_pressure": (plane, 100 * fields(hours, latitude, longitude, 900, 93)),
            "total_precipitation_6hr": (plane, rain.astype(np.float32)),
            "total_precipitation_24hr": (
                plane,
                (whole[24 // step :] - whole[: -(24 // step)]).astype(np.float32),
            ),
            "geopotential_at_surface": (
                plane[1:],
                fields(np.zeros(1), latitude, longitude, 5000, 92)[0],
            ),
        },
        coords={
            "time": time,
            "level": np.array(ERA5_LEVELS),
            "latitude": latitude.astype(np.float32),
            "longitude": longitude.astype(np.float32),
        },
    )
    # Derived variables, including accumulations over 24 hours, have no units.
    units = {"temperature": "K", "2m_temperature": "K", "total_precipitation_6hr": "m"}
    units["surface_pressure"] = "Pa"
    # In ECMWF's spelling; not confirmed against the bucket, which no test reads.
    units |= dict.fromkeys(("u_component_of_wind", "v_component_of_wind"), "m s**-1")
    units["specific_humidity"] = "kg kg**-1"
    for name, unit in {**units, "geopotential_at_surface": "m**2 s**-2"}.items():
        dataset[name].attrs["units"] = unit
    written = dataset
    if not southward:
        written = written.isel(latitude=slice(None, None, -1))
    if west:
        turned = (written["longitude"] + 180) % 360 - 180
        written = written.assign_coords(longitude=turned).sortby("longitude")
    written = written.transpose("time", "level", *order)
    chunks = {n: (min(8, len(time)), *v.shape[1:]) for n, v in written.data_vars.items()}
    chunks["geopotential_at_surface"] = written["geopotential_at_surface"].shape
    encoding = {name: {"chunks": chunk} for name, chunk in chunks.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        written.to_zarr(
            path, encoding=encoding, zarr_format=zarr_format, consolidated=consolidated
        )
    return dataset


def arco_era5(path: Path, days: int = 3, rows: int = 7, columns: int = 12) -> xr.Dataset:
    """Write a small `full_37-1h-0p25deg-chunk-1.zarr-v3`: hourly, an axis beyond the data.

    Returns:
        The data from `valid_time_start` to `valid_time_stop`, 2020-01-01 and `days` days.
    """
    latitude, longitude = poles_grid(rows, columns)
    hours = np.arange(24 * (days + 2))
    time = np.datetime64("2019-12-31", "ns") + hours * _HOUR
    plane = ("time", "latitude", "longitude")
    levels = (10, 500, 850)
    flux = -fields(hours, latitude, longitude, 220, 93)
    dataset = xr.Dataset(
        {
            "temperature": (
                ("time", "level", *plane[1:]),
                np.stack([fields(hours, latitude, longitude, 230, k) for k in levels], axis=1),
                {"units": "K"},
            ),
            **{
                name: (("time", "level", *plane[1:]), values, {"units": units})
                for name, values, units in zip(
                    ("u_component_of_wind", "v_component_of_wind", "specific_humidity"),
                    moving_air(hours, latitude, longitude, len(levels)),
                    ("m s**-1", "m s**-1", "kg kg**-1"),
                    strict=True,
                )
            },
            "total_precipitation": (
                plane,
                np.maximum(fields(hours, latitude, longitude, -18, 94), 0) * np.float32(1e-4),
                {"units": "m"},
            ),
            "mean_top_net_long_wave_radiation_flux": (plane, flux, {"units": "W m**-2"}),
            "top_net_thermal_radiation": (
                plane,
                flux * np.float32(3600),
                {"units": "J m**-2"},
            ),
        },
        coords={
            "time": time,
            "level": np.array(levels),
            "latitude": latitude.astype(np.float32),
            "longitude": longitude.astype(np.float32),
        },
        attrs={
            "valid_time_start": "2020-01-01",
            "valid_time_stop": f"{np.datetime64('2020-01-01') + days - 1}",
            "valid_time_stop_era5t": "2020-12-31",
            "last_updated": "2021-04-09 00:00:00+00:00",
        },
    )
    inside = (hours >= 24) & (hours < 24 * (days + 1))
    # Beyond its data the store has empty chunks.
    for array in dataset.data_vars.values():
        array[~inside] = np.nan
    chunks = {n: {"chunks": (1, *v.shape[1:])} for n, v in dataset.data_vars.items()}
    chunks["time"] = {"units": "hours since 1900-01-01", "dtype": "int64"}  # type: ignore[dict-item]
    dataset.to_zarr(path, encoding=chunks, zarr_format=2, consolidated=True)
    return dataset.isel(time=np.flatnonzero(inside))


def chaosbench(
    folder: Path, days: int = 5, rows: int = 7, columns: int = 12, start: str = "2016-02-27"
) -> xr.Dataset:
    """Write one packed store per day, `era5_full_1.5deg_YYYYMMDD.zarr`, 10 levels, `t` K."""
    latitude, longitude = poles_grid(rows, columns)
    hours = 24 * np.arange(days)
    time = np.datetime64(start, "ns") + hours * _HOUR
    values = np.stack(
        [fields(hours, latitude, longitude, 225 + 4 * k, k) for k in range(10)], axis=1
    )
    dataset = xr.Dataset(
        {"t": (("time", "level", "latitude", "longitude"), values, {"units": "K"})},
        coords={
            "time": time,
            "level": ("level", np.array(SLAMS_LEVELS, dtype=np.int32), {"units": "millibars"}),
            "latitude": latitude.astype(np.float32),
            "longitude": longitude.astype(np.float32),
        },
    )
    dataset["z"] = dataset["t"] * 10
    dataset["z"].attrs["units"] = "m**2 s**-2"
    # Names as ChaosBench documents them (z q t u v w); their units are ECMWF's, not confirmed.
    for name, values in zip("uvq", moving_air(hours, latitude, longitude, 10), strict=True):
        units = "kg kg**-1" if name == "q" else "m s**-1"
        dataset[name] = (dataset["t"].dims, values, {"units": units})
    for number in range(days):
        day = dataset.isel(time=number)
        low, high = float(day["t"].min()), float(day["t"].max())
        # A scale and an offset per day, as in the NetCDF download.
        packing = {
            "dtype": "int16",
            "scale_factor": (high - low) / 65000,
            "add_offset": (high + low) / 2,
            "_FillValue": -32767,
        }
        name = str(time[number].astype("datetime64[D]")).replace("-", "")
        day.to_zarr(
            folder / f"era5_full_1.5deg_{name}.zarr",
            encoding={"t": packing},
            zarr_format=2,
            consolidated=True,
        )
    return dataset[["t", "u", "v", "q"]]


def noaa_olr(
    path: Path,
    days: int = 12,
    era: str = "float32",
    start: str = "2001-01-01",
    rows: int = 7,
    columns: int = 12,
    step: int = 24,
    epoch: str = "1800-01-01 00:00:0.0",
    keep: np.ndarray | None = None,
) -> xr.Dataset:
    """Write `olr.day.mean.nc`, or with `step` 12 the file of two passes per day.

    Args:
        path: File to write.
        days: Days.
        era: `int16` with scale, offset and missing 32766, or `float32`.
        start: First day.
        rows: Latitudes, poles among them.
        columns: Longitudes.
        step: Hours between two steps.
        epoch: Epoch of the time axis, `hours since`.
        keep: Steps that the file has, all by default.
    """
    latitude, longitude = poles_grid(rows, columns)
    hours = np.arange(0, 24 * days, step)
    time = np.datetime64(start, "ns") + hours * _HOUR
    values = fields(hours, latitude, longitude, 220, 95)
    dataset = xr.Dataset(
        {"olr": (("time", "lat", "lon"), values)},
        coords={"time": time, "lat": latitude.astype("f4"), "lon": longitude.astype("f4")},
        attrs={"title": "Daily Interpolated OLR", "Conventions": "COARDS"},
    )
    dataset["olr"].attrs = {"units": "W/m^2", "statistic": "Mean"}
    if keep is not None:
        dataset = dataset.isel(time=keep)
    packing: dict[str, object] = {"dtype": "float32", "_FillValue": FILL, "missing_value": FILL}
    if era == "int16":
        packing = {
            "dtype": "int16",
            "scale_factor": np.float32(0.01),
            "add_offset": np.float32(327.65),
            "missing_value": np.int16(32766),
            "_FillValue": None,
        }
    axis = {"units": f"hours since {epoch}", "dtype": "float64", "_FillValue": None}
    dataset.to_netcdf(path, encoding={"olr": packing, "time": axis})
    return dataset


def noaa_reanalysis(
    path: Path,
    name: str,
    days: int = 4,
    step: int = 24,
    statistic: str = "Mean",
    rows: int = 7,
    columns: int = 12,
) -> xr.Dataset:
    """Write `uwnd`, `vwnd` or `shum` of the NCEP/NCAR reanalysis in the layout of its `air` file.

    `air.nc` is available as a real file (shared/data/real); that `uwnd`, `vwnd` (m/s, 17 levels)
    and `shum` (kg/kg, the eight levels 1000 to 300) have its layout is from NOAA's documentation
    and was not confirmed with a file.

    Args:
        path: File to write.
        name: `uwnd`, `vwnd` or `shum`.
        days: Days.
        step: Hours between two steps.
        statistic: Attribute that defines a value: `Mean`, or `Individual Obs` for instants.
        rows: Latitudes, poles among them.
        columns: Longitudes.
    """
    latitude, longitude = poles_grid(rows, columns)
    hours = np.arange(0, 24 * days, step)
    levels = (1000, 925, 850, 700, 600, 500, 400, 300)
    if name != "shum":
        levels = (*levels, 250, 200, 150, 100, 70, 50, 30, 20, 10)
    air = moving_air(hours, latitude, longitude, len(levels))
    values = air[("uwnd", "vwnd", "shum").index(name)]
    units = "kg/kg" if name == "shum" else "m/s"
    attrs = {"units": units, "statistic": statistic, "level_desc": "Multiple levels"}
    dataset = xr.Dataset(
        {name: (("time", "level", "lat", "lon"), values, attrs)},
        coords={
            "time": np.datetime64("2022-01-01", "ns") + hours * _HOUR,
            "level": ("level", np.array(levels, "f4"), {"units": "millibar", "axis": "Z"}),
            "lat": latitude.astype("f4"),
            "lon": longitude.astype("f4"),
        },
    )
    encoding = {
        name: {"dtype": "float32", "_FillValue": FILL, "missing_value": FILL},
        "time": {"units": "hours since 1800-01-01 00:00:0.0", "dtype": "float64"},
    }
    dataset.to_netcdf(path, encoding=encoding)
    return dataset


def cpc_gauge(
    folder: Path, years: tuple[int, ...] = (2001,), days: int = 12, rows: int = 36
) -> xr.Dataset:
    """Write `precip.YYYY.nc`, the first days of each year; cell centres, missing ocean."""
    columns = 2 * rows
    latitude = 90 - 180 / rows * (np.arange(rows) + 0.5)
    longitude = 180 / rows * (np.arange(columns) + 0.5)
    land = (np.abs(latitude)[:, None] < 60) & (np.cos(np.deg2rad(2 * longitude))[None] > 0.3)
    parts = []
    for year in years:
        hours = 24 * np.arange(days)
        time = np.datetime64(f"{year}-01-01", "ns") + hours * _HOUR
        rain = np.maximum(fields(hours, latitude, longitude, -14, year), 0)
        part = xr.Dataset(
            {"precip": (("time", "lat", "lon"), np.where(land, rain, np.nan).astype("f4"))},
            coords={"time": time, "lat": latitude.astype("f4"), "lon": longitude.astype("f4")},
        )
        part["precip"].attrs = {"units": "mm", "cell_methods": "time: sum", "statistic": "Total"}
        encoding = {
            "precip": {"dtype": "float32", "_FillValue": None, "missing_value": FILL},
            "time": {"units": "hours since 1900-01-01 00:00:00", "dtype": "float64"},
        }
        part.to_netcdf(folder / f"precip.{year}.nc", encoding=encoding)
        parts.append(part)
    return xr.concat(parts, dim="time")


def era5_cds(folder: Path, days: int = 2, rows: int = 7, columns: int = 12) -> xr.Dataset:
    """Write hourly ERA5 as today's Climate Data Store delivers it, a file per kind of field.

    Layout: https://confluence.ecmwf.int/display/CKB/GRIB+to+netCDF+conversion+on+new+CDS+and+ADS+systems

    Returns:
        All variables, hourly, to 00 UTC of the day after the last.
    """
    latitude, longitude = poles_grid(rows, columns)
    hours = np.arange(24 * days + 1)
    plane = ("valid_time", "latitude", "longitude")
    unknown = {"standard_name": "unknown"}

    def surface(mean: float, seed: int, factor: float, units: str, kind: str):
        values = np.maximum(fields(hours, latitude, longitude, mean, seed), 0) * np.float32(factor)
        return plane, values, {"units": units, "GRIB_stepType": kind, **unknown}

    air = np.stack([fields(hours, latitude, longitude, 230 + k, k) for k in range(2)], axis=1)
    whole = xr.Dataset(
        {
            "t": (
                ("valid_time", "pressure_level", *plane[1:]),
                air,
                {"units": "K", "GRIB_stepType": "instant", "standard_name": "air_temperature"},
            ),
            "t2m": surface(270, 91, 1.0, "K", "instant"),
            "tp": surface(-18, 94, 1e-4, "m", "accum"),
            "ttr": surface(220, 95, -3600.0, "J m**-2", "accum"),
        },
        coords={
            "valid_time": np.datetime64("2024-03-01", "ns") + hours * _HOUR,
            "pressure_level": ("pressure_level", [850.0, 500.0], {"units": "hPa"}),
            "latitude": ("latitude", latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"units": "degrees_east"}),
            "number": 0,
            "expver": ("valid_time", np.full(len(hours), "0001")),
        },
    )
    whole["ttr"].attrs["standard_name"] = "toa_outgoing_longwave_flux"
    for name, own in (("pl", ["t"]), ("instant", ["t2m"]), ("accum", ["tp", "ttr"])):
        part = whole[own]
        part.to_netcdf(folder / f"era5_{name}.nc")
    return whole
