"""Readers of random windows, each as a data set that returns a whole batch.

All return `(B, T, C, H, W)` float32 of the same days. A reader opens its files at its first read,
in the process that reads.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from torch import Tensor
from torch.utils.data import Dataset

from data_modules.store.training_store import TrainingStore
from data_modules.stream.field_cache import MappedFields
from data_modules.stream.windows import WindowDataset
from slams.benchmarks.stream_stores import Layouts

__all__ = ["READERS", "Reader", "WindowReader"]


@dataclass(frozen=True)
class Reader:
    """A way to read windows.

    Attributes:
        label: Description in tables and figure.
        layout: Attribute of `Layouts` with the files that it reads.
        colour: Colour in the figure (Okabe and Ito 2008); limits are grey.
    """

    label: str
    layout: str
    colour: str


READERS = {
    "memmap": Reader("numpy.memmap, copied out by hand", "cache", "#555555"),
    "pread": Reader("the same file, os.preadv", "cache", "#999999"),
    "cache": Reader("training store, data.cache=mmap", "cache", "#0072b2"),
    "store": Reader("training store, data.cache=none", "store", "#56b4e9"),
    "variables": Reader("zarr, one array per variable", "variables", "#009e73"),
    "xarray": Reader("xarray without dask", "store", "#e69f00"),
    "xarray+dask": Reader("xarray with dask", "store", "#d55e00"),
}

# Reads the windows at some positions, or copies the one at a position.
_Read = Callable[[list[int]], Tensor]
_Take = Callable[[int, np.ndarray], None]


class WindowReader(Dataset[Tensor]):
    """Data set that reads windows with one of the readers of `READERS`.

    Args:
        kind: The reader.
        layouts: Paths of the fields.
        window: Days per window, `T`.
        fresh: Whether to map files again for each batch: mapped pages stay in memory.
    """

    def __init__(self, kind: str, layouts: Layouts, window: int, fresh: bool = False) -> None:
        self.kind, self.layouts, self.window = kind, layouts, window
        self.fresh = fresh and kind in ("memmap", "cache")
        self._read: _Read | None = None

    @property
    def path(self) -> Path:
        """Return the files that it reads."""
        return getattr(self.layouts, READERS[self.kind].layout)

    def __len__(self) -> int:
        return self.layouts.shape[0] - self.window + 1

    def __getitem__(self, position: int) -> Tensor:
        return self.__getitems__([position])

    def __getitems__(self, positions: list[int]) -> Tensor:
        """Read a batch."""
        if self._read is None:
            self._read = self._open()
        return self._read(positions)

    def close(self) -> None:
        """Close the open files."""
        self._read = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_read": None}

    def _open(self) -> _Read:
        days, step = self.window, self.layouts.shape[1:]
        if self.kind in ("store", "cache"):
            store = TrainingStore.open(self.layouts.store)
            cache = MappedFields(self.layouts.cache) if self.kind == "cache" else None
            windows = WindowDataset(store, np.arange(len(self)), days, cache=cache)

            def stream(positions: list[int]) -> Tensor:
                batch = windows.read(positions).fields
                if self.fresh and cache is not None:
                    cache.close()
                return batch

            return stream

        @functools.cache
        def buffers(count: int) -> Iterator[np.ndarray]:
            # Two in turn: a batch is in use while the next one is read.
            return itertools.cycle([np.empty((count, days, *step), np.float32) for _ in range(2)])

        take = getattr(self, f"_{self.kind.replace('+', '_')}")()

        def read(positions: list[int]) -> Tensor:
            out = next(buffers(len(positions)))
            for target, position in zip(out, positions, strict=True):
                take(position, target)
            return torch.from_numpy(out)

        return read

    def _memmap(self) -> _Take:
        load = functools.partial(np.load, self.layouts.cache, mmap_mode="r")
        held = None if self.fresh else load()

        def take(position: int, out: np.ndarray) -> None:
            fields = load() if held is None else held
            out[...] = fields[position : position + self.window]

        return take

    def _pread(self) -> _Take:
        offset = np.load(self.layouts.cache, mmap_mode="r").offset
        size = 4 * int(np.prod(self.layouts.shape[1:]))
        file = self.layouts.cache.open("rb", buffering=0)

        def take(position: int, out: np.ndarray) -> None:
            view, place = memoryview(out).cast("B"), offset + position * size
            while len(view):
                count = os.preadv(file.fileno(), [view], place)
                view, place = view[count:], place + count

        return take

    def _variables(self) -> _Take:
        group, days = zarr.open_group(self.layouts.variables, mode="r"), self.window
        names = zarr.open_group(self.layouts.store, mode="r").attrs["channels"]
        arrays = [group[str(name)] for name in names]  # type: ignore[union-attr]

        def take(position: int, out: np.ndarray) -> None:
            for number, array in enumerate(arrays):
                out[:, number] = array[position : position + days]

        return take

    def _xarray(self, chunks: dict[str, int] | None = None) -> _Take:
        import xarray as xr

        dataset = xr.open_zarr(self.layouts.store, chunks=chunks, consolidated=False)
        fields, days = dataset["fields"], self.window

        def take(position: int, out: np.ndarray) -> None:
            out[...] = fields.isel(time=slice(position, position + days)).values

        return take

    def _xarray_dask(self) -> _Take:
        return self._xarray({})
