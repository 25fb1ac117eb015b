"""A made-up 6-hourly nature run in the layout of `simulate.sampling=instants`, and its recipe.

The layout is that of `data_modules.nature_run.layout`, which `slams simulate` writes: instants at
00, 06, 12 and 18 UTC, hours in int64, packed in int16.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from data_modules.nature_run.layout import PIECE_STEPS, create_nature_run, write_piece
from slams.config.schema import Config
from tests.stages.commands import study
from tests.synthetic import FIRST_DAY, nature_run

__all__ = ["AMPLITUDE", "DAYS", "diurnal_cycle", "six_hourly_run", "six_hourly_study"]

DAYS = 60
# Of the diurnal cycle of temperature (K).
AMPLITUDE = 6.0


def diurnal_cycle(time: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Return the diurnal cycle (K), `(N, W)`: warmest at noon of local time.

    Args:
        time: `(N,)` days since 1970-01-01 00 UTC.
        longitude: `(W,)` degrees east.
    """
    return -AMPLITUDE * np.cos(2 * np.pi * (time[:, None] % 1 + longitude / 360))


def six_hourly_run(path: Path, days: int = DAYS) -> xr.Dataset:
    """Write a 6-hourly nature run of the channels of `tests.synthetic`, and return it."""
    run = nature_run(4 * days).rename(total_precipitation_24hr="precipitation_rate")
    time = np.datetime64(FIRST_DAY, "ns") + np.arange(4 * days) * np.timedelta64(6, "h")
    run = run.assign_coords(time=time)
    hours = (time - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
    cycle = diurnal_cycle(hours, run["longitude"].values).astype(np.float32)
    run["temperature"] = run["temperature"] + cycle[:, None, None, :]
    create_nature_run(path, run.isel(time=slice(1)), time, {"title": "made-up instants"})
    for start in range(0, len(time), PIECE_STEPS):
        write_piece(path, run.isel(time=slice(start, start + PIECE_STEPS)), start)
    return run


def six_hourly_study(directory: Path, source: Path, **data: object) -> Config:
    """Make a recipe with steps of six hours, whose stages take some seconds together."""
    channels = ["temperature@850", "temperature@500", "outgoing_longwave_radiation"]
    config = study(directory, source, step="6h", channels=channels, **data)
    config.data.splits.train = ["2001-01-01", "2001-02-04"]
    config.data.splits.validation = ["2001-02-07", "2001-02-12"]
    config.data.splits.test = ["2001-02-15", "2001-02-24"]
    config.assimilation.modality_study = 0
    return config
