"""Small synthetic nature runs and recipes that prepare them, for all tests.

Anomalies are a few global waves with AR(1) amplitudes, shared between the channels, so that
channels are correlated with one another, and days with the days before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from slams.config.schema import (
    BackgroundConfig,
    Config,
    DataConfig,
    ObservationsConfig,
    SatelliteConfig,
    SourceConfig,
    SplitsConfig,
    StationsConfig,
    StationVariableConfig,
)

__all__ = [
    "CHANNELS",
    "FIRST_DAY",
    "MOVING_AIR",
    "PERSISTENCE",
    "gappy_recipe",
    "nature_run",
    "tiny_recipe",
]

FIRST_DAY = "2001-01-01"
PERSISTENCE = 0.8
CHANNELS = [
    "temperature@850",
    "temperature@500",
    "total_precipitation_24hr",
    "outgoing_longwave_radiation",
]
# Further channels of `nature_run(winds=True)`.
MOVING_AIR = [
    "u_component_of_wind@850",
    "u_component_of_wind@500",
    "v_component_of_wind@850",
    "v_component_of_wind@500",
    "specific_humidity@850",
]


def nature_run(
    days: int = 110,
    rows: int = 12,
    columns: int = 24,
    levels: Sequence[int] = (850, 500),
    seed: int = 0,
    winds: bool = False,
) -> xr.Dataset:
    """Make a nature run with temperature (K), 2 m temperature, precipitation and OLR.

    Args:
        days: Number of days.
        rows: Latitudes.
        columns: Longitudes.
        levels: Pressure levels (hPa).
        seed: Seed of the waves and the noise.
        winds: Whether to add eastward and northward wind (m s-1) and specific humidity (kg kg-1)
            on the same levels, made from the same waves; humidity is missing at the highest
            level, as above 500 hPa in a run of `slams simulate`.
    """
    rng = np.random.default_rng(seed)
    latitude = 90 - 180 / rows * (np.arange(rows) + 0.5)
    longitude = 360 / columns * np.arange(columns)
    waves = _waves(latitude, longitude)
    amplitude = np.zeros((days, len(waves)))
    amplitude[0] = rng.standard_normal(len(waves))
    for day in range(1, days):
        kick = np.sqrt(1 - PERSISTENCE**2) * rng.standard_normal(len(waves))
        amplitude[day] = PERSISTENCE * amplitude[day - 1] + kick
    mixing = rng.uniform(0.5, 1.5, (len(levels) + 3, len(waves)))
    noise = 0.2 * rng.standard_normal((len(levels) + 3, days, rows, columns))
    anomaly = np.einsum("cw,tw,wij->ctij", mixing, amplitude, waves) + noise
    # There are no seasons: most recipes take a part of the year, and so no annual harmonics.
    warm = 40 * np.cos(np.deg2rad(latitude))[:, None] * np.ones((days, 1, 1))
    temperature = np.stack(
        [250 + warm - 10 * k + 2 * anomaly[k] for k in range(len(levels))], axis=1
    )
    dims = ("time", "latitude", "longitude")
    dataset = xr.Dataset(
        {
            "temperature": (("time", "level", *dims[1:]), temperature, {"units": "K"}),
            "2m_temperature": (dims, 255 + warm + 2 * anomaly[-3], {"units": "K"}),
            "total_precipitation_24hr": (
                dims,
                np.maximum(3 * anomaly[-2], 0),
                {"units": "mm day-1"},
            ),
            "outgoing_longwave_radiation": (
                dims,
                220 + warm / 2 + 8 * anomaly[-1],
                {"units": "W m-2"},
            ),
        },
        coords={
            "time": np.datetime64(FIRST_DAY, "ns") + np.arange(days) * np.timedelta64(1, "D"),
            "level": ("level", list(levels), {"units": "hPa"}),
            "latitude": latitude,
            "longitude": longitude,
        },
        attrs={"title": "made-up nature run", "license": "free to use"},
    )
    if winds:
        dataset = dataset.assign(_moving_air(anomaly, waves, amplitude, warm, len(levels)))
    return dataset.astype(np.float32)


def _moving_air(
    anomaly: np.ndarray, waves: np.ndarray, amplitude: np.ndarray, warm: np.ndarray, levels: int
) -> dict[str, xr.Variable]:
    """Make winds and humidity from the waves of the temperature, shifted in phase."""
    dims = ("time", "level", "latitude", "longitude")
    shifted = [
        np.roll(np.einsum("tw,wij->tij", amplitude, waves) + 0.1 * anomaly[-1 - k], k, axis=2)
        for k in range(3)
    ]
    east = np.stack([5 + 10 * k + 4 * shifted[0] for k in range(levels)], axis=1)
    north = np.stack([3 * shifted[1]] * levels, axis=1)
    # Four decades, from 1e-6 to 2e-2 kg kg-1.
    wet = np.exp(warm / 10 - 9.5 + 1.2 * shifted[2])
    humidity = np.stack([wet / (1 + 3 * k) for k in range(levels)], axis=1)
    humidity = np.minimum(humidity, 0.03)
    humidity[:, -1] = np.nan
    return {
        "u_component_of_wind": xr.Variable(dims, east, {"units": "m s-1"}),
        "v_component_of_wind": xr.Variable(dims, north, {"units": "m s-1"}),
        "specific_humidity": xr.Variable(dims, humidity, {"units": "kg kg-1"}),
    }


def tiny_recipe(directory: Path, source: str | Path, **data: object) -> Config:
    """Return a recipe for a synthetic nature run of 110 days.

    Args:
        directory: Directory of the store and the runs.
        source: Path of the nature run.
        data: Fields of `DataConfig` to replace.
    """
    settings: dict[str, object] = {
        "store": str(directory / "store.zarr"),
        "source": SourceConfig(path=str(source)),
        "channels": list(CHANNELS),
        "splits": SplitsConfig(
            train=["2001-01-01", "2001-03-11"],
            validation=["2001-03-14", "2001-03-25"],
            test=["2001-03-28", "2001-04-20"],
            gap=2,
        ),
        "harmonics": 0,
        "lags": [1, 2, 3],
        "batch_size": 8,
        "test_cases": 7,
        **data,
    }
    return Config(
        experiment="tiny",
        runs=str(directory / "runs"),
        data=DataConfig(**settings),  # type: ignore[arg-type]
        observations=ObservationsConfig(
            stations=StationsConfig(
                count=30, variables=[StationVariableConfig("temperature@850", 0.5)]
            ),
            satellite=SatelliteConfig(footprint=2, error=4.0),
        ),
        background=BackgroundConfig(lag=2),
    )


def gappy_recipe(directory: Path, *gaps: tuple[slice, slice]) -> Config:
    """Write a nature run whose OLR has gaps, and return a recipe that prepares it.

    Args:
        directory: Directory of the nature run and of the recipe's store.
        gaps: Days and latitudes of each gap.
    """
    run = nature_run()
    for days, rows in gaps:
        run["outgoing_longwave_radiation"][{"time": days, "latitude": rows}] = np.nan
    run.to_zarr(directory / "nature.zarr", zarr_format=3, consolidated=False)
    config = tiny_recipe(directory, directory / "nature.zarr")
    config.data.source.gaps = ["outgoing_longwave_radiation"]
    return config


def _waves(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Return `(W, H, W)` global waves with rms of about 1 together."""
    y, x = np.deg2rad(latitude)[:, None], np.deg2rad(longitude)[None]
    waves = []
    for k in range(4):
        for n in range(3):
            across = np.cos(y) ** min(k, 2) * np.cos(n * (y + np.pi / 2))
            waves += [across * np.cos(k * x)] + ([across * np.sin(k * x)] if k else [])
    stacked = np.stack(waves)
    return stacked / np.sqrt((stacked**2).sum(axis=0).mean())
