"""A training store of a linear world, in which the best forecast of each level is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import zarr

from data_modules.store.checks import STORE_VERSION
from data_modules.store.training_store import Statistics
from data_modules.store.writing import (
    create_steps,
    write_coordinates,
    write_statistics,
)
from slams.calendar.days import day_number, day_of
from slams.config.splits import parse_day
from slams.grid import LatLonGrid

__all__ = ["CHANNELS", "NOISE", "climatology", "linear_store"]

CHANNELS = (
    "temperature@850",
    "temperature@500",
    "2m_temperature",
    "total_precipitation_24hr",
    "outgoing_longwave_radiation",
    "surface_pressure",
    "u_component_of_wind@850",
    "u_component_of_wind@500",
    "v_component_of_wind@850",
    "v_component_of_wind@500",
    "specific_humidity@850",
)
# Standard deviation of what cannot be forecast, at either level.
NOISE = 0.5


def climatology(shape: tuple[int, int]) -> np.ndarray:
    """Return the climatology `(H, W)` of every channel, in channel units."""
    rows, columns = shape
    east = np.sin(2 * np.pi * np.arange(columns) / columns)
    return 3 + east + np.cos(np.arange(rows))[:, None]


def linear_store(
    path: Path,
    pieces: list[tuple[str, int]],
    shape: tuple[int, int] = (6, 12),
    seed: int = 0,
    **attributes: object,
) -> Path:
    """Write a store of noise, some of which makes the next day's temperature.

    With `e` of variance `NOISE^2`, `w` a point to the west,

        T850(t + 1) = .6 T850_w(t) + .5 u850(t) + e,
        T500(t + 1) = .5 T500(t) + .4 T500(t - 1) + e,

    and all other channels are white noise of variance one; all of it on top of a climatology.

    Args:
        path: Of the store.
        pieces: First day (ISO date) and number of days of each piece of the time axis.
        shape: Of the grid.
        seed: Of the noise.
        attributes: Further attributes of the store.
    """
    rng = np.random.default_rng(seed)
    time = np.concatenate(
        [day_number(parse_day("pieces", first)) + np.arange(n) for first, n in pieces]
    )
    fields = rng.standard_normal((len(time), len(CHANNELS), *shape))
    wind = CHANNELS.index("u_component_of_wind@850")
    for t in range(2, len(time)):
        yesterday, before = fields[t - 1], fields[t - 2]
        noise = NOISE * rng.standard_normal((2, *shape))
        fields[t, 0] = 0.6 * np.roll(yesterday[0], 1, axis=-1) + 0.5 * yesterday[wind] + noise[0]
        fields[t, 1] = 0.5 * yesterday[1] + 0.4 * before[1] + noise[1]
    fields += climatology(shape)
    # Channel units of these are a logarithm and a root: left at values above zero.
    for name in ("total_precipitation_24hr", "specific_humidity@850"):
        fields[:, CHANNELS.index(name)] = np.abs(fields[:, CHANNELS.index(name)])
    rows, columns = shape
    latitude = 90 - 180 / rows * (np.arange(rows) + 0.5)
    grid = LatLonGrid(latitude, 360 / columns * np.arange(columns))
    group = zarr.open_group(path, mode="w", zarr_format=3)
    dims = ("time", "channel", "latitude", "longitude")
    create_steps(group, "fields", fields.shape, dims)[...] = fields.astype(np.float32)
    write_coordinates(group, time.astype(np.float64), grid)
    plane = (len(CHANNELS), *shape)
    ones = np.ones((1, *plane), dtype=np.float32)
    one = torch.from_numpy(ones)
    harmonics = torch.from_numpy(climatology(shape).astype(np.float32) * ones)
    write_statistics(group, Statistics(harmonics, 2 * one[0], (1,), one, one))
    group.attrs.update(
        slams_store=STORE_VERSION,
        channels=list(CHANNELS),
        fingerprint=f"linear world/{pieces}/{shape}/{seed}",
        recipe="{}",
        statistics_days=[],
        status="complete",
    )
    group.attrs.update(attributes)
    assert str(day_of(time[0])) == pieces[0][0]
    return path
