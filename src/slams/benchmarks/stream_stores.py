"""Synthetic stores of the same content in the layouts that `slams bench data` compares.

The fields are waves with noise in the last digits, as in measurements and models, so that they
compress like real fields (to about half); their values have no meaning.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from data_modules.store.training_store import STORE_VERSION, TrainingStore
from data_modules.store.writing import create_steps, write_coordinates
from data_modules.stream.field_cache import map_fields
from slams.grid import LatLonGrid

__all__ = ["Layouts", "make_layouts"]

_BLOCK = 64


@dataclass(frozen=True)
class Layouts:
    """Paths of the same fields in three layouts.

    Attributes:
        store: The training store: channels stacked, sharded.
        variables: A Zarr group with one array per variable, otherwise identical.
        cache: The training store's cache, a file in the NumPy format.
        shape: `(N, C, H, W)`.
    """

    store: Path
    variables: Path
    cache: Path
    shape: tuple[int, int, int, int]

    def files(self, path: Path) -> list[Path]:
        """List the files below one of the layouts."""
        return [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]

    def size(self, path: Path) -> int:
        """Return the bytes of one of the layouts."""
        return sum(file.stat().st_size for file in self.files(path))


def make_layouts(directory: Path, days: int, shape: tuple[int, int, int], seed: int) -> Layouts:
    """Write the stores and wait until they are on the disk.

    Args:
        directory: Directory of the stores.
        days: Days per store.
        shape: `(C, H, W)` of a day.
        seed: Seed of the noise.
    """
    channels, rows, columns = shape
    names = [f"temperature@{1000 - 4 * i}" for i in range(channels)]
    store, variables = directory / "store.zarr", directory / "variables.zarr"
    stacked, apart = (zarr.open_group(p, mode="w", zarr_format=3) for p in (store, variables))
    plane = ("latitude", "longitude")
    fields = create_steps(stacked, "fields", (days, *shape), ("time", "channel", *plane))
    single = [create_steps(apart, n, (days, rows, columns), ("time", *plane)) for n in names]
    rng = np.random.default_rng(seed)
    for start in range(0, days, _BLOCK):
        values = _weather(rng, start, min(_BLOCK, days - start), shape)
        fields[start : start + len(values)] = values
        for number, array in enumerate(single):
            array[start : start + len(values)] = values[:, number]
    latitude = 90 - 180 / rows * (np.arange(rows) + 0.5)
    grid = LatLonGrid(latitude, 360 / columns * np.arange(columns))
    write_coordinates(stacked, np.arange(days, dtype=np.float64), grid)
    stacked.create_group("statistics")
    stacked.attrs.update(
        slams_store=STORE_VERSION,
        channels=names,
        fingerprint=f"made up/{days}/{shape}/{seed}",
        recipe="{}",
        statistics_days=[],
        status="complete",
    )
    cache = map_fields(TrainingStore.open(store), directory / "cache")
    made = Layouts(store, variables, cache.path, (days, *shape))
    for path in (store, variables, cache.path):
        for file in made.files(path):
            with file.open("rb") as opened:  # pages that are not on disk cannot be evicted
                os.fsync(opened.fileno())
    return made


def _weather(
    rng: np.random.Generator, start: int, days: int, shape: tuple[int, int, int]
) -> np.ndarray:
    channels, rows, columns = shape
    day = np.arange(start, start + days)[:, None, None, None]
    channel = np.arange(channels)[:, None, None]
    y = np.linspace(-np.pi / 2, np.pi / 2, rows)[:, None]
    x = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    waves = 20 * np.cos(y) * np.sin(3 * x + day / 5 + channel) + 30 * np.cos(2 * y)
    return (250 + waves + 0.05 * rng.standard_normal((days, *shape))).astype(np.float32)
