"""A synthetic source of any size, for measurements of preparation: travelling waves, CF Zarr.

It is written year by year with numpy alone, in chunks of a few steps, like the public archives; a
hundred waves per level travel at their own speeds, so that fields are smooth, never repeat, and
cost one small matrix product per step.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from data_modules.store.writing import write_coordinates
from slams.calendar.days import day_number
from slams.grid import LatLonGrid

__all__ = ["FIRST_DAY", "write_waves"]

FIRST_DAY = date(1980, 1, 1)
# Steps computed and written at a time.
_STEPS = 32


def write_waves(
    path: Path,
    steps: int,
    shape: tuple[int, int],
    levels: Sequence[int],
    chunk_steps: int = 8,
    seed: int = 0,
) -> int:
    """Write daily temperature (K) on a grid with pole rows, from 1980-01-01 on.

    Args:
        path: Zarr directory; replaced if it exists.
        steps: Days.
        shape: Latitudes, poles included, and longitudes.
        levels: Levels (hPa).
        chunk_steps: Days per chunk.
        seed: Seed of amplitudes, phases and speeds.

    Returns:
        Bytes of the values (float32).
    """
    rng = np.random.default_rng(seed)
    rows, columns = shape
    latitude, longitude = np.linspace(90, -90, rows), 360 / columns * np.arange(columns)
    group = zarr.create_group(str(path), overwrite=True, attributes={"title": "travelling waves"})
    time = day_number(FIRST_DAY) + np.arange(steps, dtype=np.float64)
    write_coordinates(group, time, LatLonGrid(latitude, longitude))
    group.create_array(
        "level", data=np.asarray(levels), dimension_names=["level"], attributes={"units": "hPa"}
    )
    array = group.create_array(
        "temperature",
        shape=(steps, len(levels), rows, columns),
        chunks=(chunk_steps, len(levels), rows, columns),
        dtype="float32",
        compressors=BloscCodec(typesize=4, cname="lz4", clevel=1, shuffle="shuffle"),
        fill_value=float("nan"),
        dimension_names=("time", "level", "latitude", "longitude"),
        attributes={"units": "K"},
    )
    across, along, speed = _waves(rng, latitude, longitude)
    mixing = rng.standard_normal((len(levels), 1, len(speed)))
    weights = (mixing * across.T).reshape(-1, len(speed)).astype(np.float32)
    sine = np.sin(np.deg2rad(latitude))
    mean = 290 - 70 * np.linspace(0, 1, len(levels))[:, None] - 40 * sine**2
    for start in range(0, steps, _STEPS):
        days = np.arange(start, min(start + _STEPS, steps))
        season = 8 * np.cos(2 * np.pi * days / 365.2425)
        block = np.empty((len(days), *array.shape[1:]), np.float32)
        for number, day in enumerate(days):
            moved = (along * np.exp(1j * speed * day)[:, None]).real.astype(np.float32)
            block[number] = (weights @ moved).reshape(array.shape[1:])
            block[number] += (mean + season[number] * sine).astype(np.float32)[:, :, None]
        array[int(days[0]) : int(days[-1]) + 1] = block
    return int(np.prod(array.shape)) * 4


def _waves(
    rng: np.random.Generator, latitude: np.ndarray, longitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw waves: `(W, H)` across, `(W, X)` complex along, `(W,)` speed (radians per day)."""
    y, x = np.deg2rad(latitude), np.deg2rad(longitude)
    wavenumbers, degrees = np.meshgrid(np.arange(0, 10), np.arange(0, 4), indexing="ij")
    k, n = wavenumbers.ravel(), degrees.ravel()
    across = np.cos(y) ** np.minimum(k, 3)[:, None] * np.cos(n[:, None] * (y + np.pi / 2))
    phase = rng.uniform(0, 2 * np.pi, len(k))
    along = np.exp(1j * (k[:, None] * x + phase[:, None])) * 6 / np.sqrt(len(k))
    return across.astype(np.float32), along, rng.uniform(0.05, 0.8, len(k))
