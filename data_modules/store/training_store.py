"""The training store: one Zarr v3 directory with fields, observations and statistics.

Layout (notation of `slams.fields`, time in days since 1970-01-01 00 UTC)::

    fields (time, channel, latitude, longitude)   float32 physical, NaN missing; 1 step per chunk
    time, latitude, longitude                     float64
    stations (time, station, variable)            float32 channel units, NaN missing (optional)
    station_id, station_latitude, ...             (optional)
    satellite (time, channel, y, x)               float32 channel units, NaN missing (optional)
    satellite_errors, satellite_latitude, ...     of imagery from files (optional)
    statistics/harmonics, sd, lags, persistence, persistence_variance

A step is a day or, where the attribute `step_hours` says so, 12 or 6 hours
(`slams.calendar.steps` has the convention). Whether a value is an instant, a mean or a total
stands in the attribute `time` of its source.

The fields of a packed store (`packed_store`) are int16 anomalies, see `packing`.

The attribute `status` is set to `complete` after everything else was written. An open Zarr array
is never sent to another process: a pickled `TrainingStore` contains its path, and the other
process opens the files again. The path may be an address (`http://` or `https://`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from torch import Tensor
from torch.utils.data import get_worker_info

from data_modules.store.checks import (
    STORE_VERSION,
    check_arrays,
    check_attributes,
    check_files,
    has_array,
    iso_date,
    open_group,
    read_checksums,
    read_small,
    shard_file,
)
from data_modules.store.files import files_of, is_url
from data_modules.store.packing import unpack
from data_modules.store.shards import ShardReader
from slams.calendar.steps import step_of_store, steps_per_day
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser

__all__ = [
    "SHARD_STEPS",
    "STORE_VERSION",
    "Statistics",
    "TrainingStore",
    "iso_date",
    "shard_steps",
]

# Largest number of steps per file, and of values (before compression) per file.
SHARD_STEPS = 64
_SHARD_VALUES = 2**25

_HOW = "run `slams prepare` with the recipe"


def shard_steps(values: int) -> int:
    """Return the number of steps per file of a training store.

    It is a power of two up to `SHARD_STEPS`, so that a file is at most 128 MB before compression
    unless a single step is larger. It depends only on the layout, not on the machine.

    Args:
        values: Numbers per step: channels times grid points.
    """
    steps = SHARD_STEPS
    while steps > 1 and steps * values > _SHARD_VALUES:
        steps //= 2
    return steps


@dataclass(frozen=True)
class Statistics:
    """Statistics of the training period for each channel and grid point.

    Attributes:
        harmonics: `(S (2K + 1), C, H, W)` float32, climatology in channel units of each of the `S`
            steps of the day.
        sd: `(C, H, W)` float32, standard deviation of anomalies in channel units, floored.
        lags: The `L` lags (steps) of damped persistence.
        persistence: `(L, C, H, W)` float32, regression of the anomaly on that `lag` steps before.
        persistence_variance: `(L, C, H, W)` float32, its error variance, normalised units.
    """

    harmonics: Tensor
    sd: Tensor
    lags: tuple[int, ...]
    persistence: Tensor
    persistence_variance: Tensor

    def select(self, index: Sequence[int]) -> Statistics:
        """Return the statistics of some channels, in the given order."""
        order = list(index)
        return Statistics(
            self.harmonics[:, order],
            self.sd[order],
            self.lags,
            self.persistence[:, order],
            self.persistence_variance[:, order],
        )


@dataclass(frozen=True)
class TrainingStore:
    """A complete training store, opened for reading; picklable, opened again in each process.

    Attributes:
        path: Directory of the store, or its address.
        channels: The channels read, in order (all channels of the store, or a selection).
        channel_index: Position of each of these channels in the store.
        time: `(N,)` float64, days since 1970-01-01 00 UTC, increasing.
        grid: The grid.
        attributes: The store's attributes (sources, units, recipe, versions, fingerprint).
    """

    path: Path | str
    channels: tuple[FieldSpec, ...]
    channel_index: tuple[int, ...]
    time: np.ndarray
    grid: LatLonGrid
    attributes: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path, channels: Sequence[str] | None = None) -> TrainingStore:
        """Open and validate a store.

        Args:
            path: Directory of the store, or its address.
            channels: Names of the channels to read, in order; all by default.

        Raises:
            UserError: There is no store, it is incomplete, damaged or of another version, or
                lacks a channel.
        """
        path = str(path).rstrip("/") if is_url(path) else Path(path)
        if isinstance(path, Path) and not path.exists():
            left = path.with_name(path.name + ".partial").exists()
            found = "only an unfinished preparation of it" if left else "no such directory"
            raise UserError(f"training store {path}: found {found}; {_HOW}")
        group = open_group(path)
        attributes = dict(group.attrs)
        check_attributes(path, attributes)
        names = list(attributes["channels"])
        check_arrays(path, group, len(names))
        known = read_checksums(path)
        time = read_small(path, group, "time", np.float64, known)
        if isinstance(path, Path):  # over HTTP a missing file is found on reading
            check_files(path, group, time)
        specs = tuple(FieldSpec.parse(name) for name in names)
        store = cls(
            path=path,
            channels=specs,
            channel_index=tuple(range(len(specs))),
            time=time,
            grid=LatLonGrid(
                torch.from_numpy(read_small(path, group, "latitude", np.float64, known)),
                torch.from_numpy(read_small(path, group, "longitude", np.float64, known)),
            ),
            attributes=attributes,
        )
        return store if channels is None else store.select(channels)

    def select(self, names: Sequence[str]) -> TrainingStore:
        """Return the store with only some channels, in the given order.

        Raises:
            UserError: A channel is not in the store; the message lists its levels or channels.
        """
        there = {spec.name: i for i, spec in enumerate(self.channels)}
        for name in names:
            if name in there:
                continue
            wanted = FieldSpec.parse(name)
            same = [c for c in self.channels if c.variable == wanted.variable]
            if wanted.level is not None and same:
                levels = ", ".join(str(c.level) for c in same)
                found = f"levels {levels} hPa of {wanted.variable}"
            else:
                found = f"channels {', '.join(there)}"
            raise UserError(
                f"data.channels: {name!r} is not in training store {self.path}; found {found}; "
                f"change data.channels, or prepare a store that has it"
            )
        picked = [there[name] for name in names]
        return replace(
            self,
            channels=tuple(self.channels[i] for i in picked),
            channel_index=tuple(self.channel_index[i] for i in picked),
        )

    @property
    def fingerprint(self) -> str:
        """Return the sha256 over the store's content and the recipe it was prepared from."""
        return str(self.attributes["fingerprint"])

    @property
    def step(self) -> float:
        """Return the length of a step (days)."""
        return step_of_store(self.attributes)

    @property
    def absent(self) -> tuple[str, ...]:
        """Return the names of channels that the source lacked, which are missing throughout."""
        return tuple(self.attributes.get("absent", ()))

    @cached_property
    def statistics(self) -> Statistics:
        """Return the statistics of the training period for the channels read."""
        lags = tuple(self.read_small("statistics/lags", np.int64).tolist())
        harmonics, sd, *persistence = (
            torch.from_numpy(self.read_small(f"statistics/{name}", np.float32))
            for name in ("harmonics", "sd", "persistence", "persistence_variance")
        )
        return Statistics(harmonics, sd, lags, *persistence).select(self.channel_index)

    def normaliser(self) -> Normaliser:
        """Return the normaliser of the channels read."""
        statistics = self.statistics
        per_day = steps_per_day(self.step)
        return Normaliser(self.channels, statistics.harmonics, statistics.sd, per_day)

    @cached_property
    def elevation(self) -> np.ndarray | None:
        """Return the model's terrain `(H, W)` m above sea level, or `None` when it is unknown."""
        if not self.has("surface_elevation"):
            return None
        return self.read_small("surface_elevation", np.float64)

    def read_small(self, name: str, dtype: type) -> np.ndarray:
        """Read an array without time as a whole, and compare it with its checksum.

        Args:
            name: Name of the array, for example `statistics/sd`.
            dtype: Type of the returned values.

        Raises:
            UserError: The array is missing, truncated or corrupt, or has changed.
        """
        return read_small(self.path, self._group, name, dtype, self._checksums)

    def read(self, index: slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """Read days of the fields.

        Args:
            index: A slice of the time axis, or positions on it in any order (repeats allowed).

        Returns:
            `(n, C, H, W)` float32, physical, NaN where missing.

        Raises:
            UserError: A chunk is truncated or corrupt; the message names its date and file.
        """
        values = self._read("fields", index)
        return values if self._all_channels else values[:, list(self.channel_index)]

    def has(self, name: str) -> bool:
        """Return whether the store has an optional array (`stations`, `satellite`).

        Raises:
            UserError: Its metadata are damaged.
        """
        return has_array(self.path, self._group, name)

    def read_array(self, name: str, index: slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """Read days of an optional array (`stations`, `satellite`); arguments as for `read`.

        Returns:
            `(n, ...)` float32 channel units, NaN where nothing was observed.

        Raises:
            UserError: The array is not in the store, or a chunk is truncated or corrupt.
        """
        if not self.has(name):
            raise UserError(f"training store {self.path} has no array {name!r}; {_HOW}")
        return self._read(name, index)

    def __getstate__(self) -> dict[str, Any]:
        # An open array would make another process hang or crash; each process opens the files.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def file_steps(self) -> int:
        """Return the number of steps per file of the fields."""
        fields = self._open_array("fields")[0]
        return (fields.shards or fields.chunks)[0]

    def read_run(self, first: int, out: np.ndarray) -> None:
        """Read consecutive days of the fields into an array of the caller.

        Args:
            first: Position of the first day.
            out: `(n, C, H, W)` float32, C-contiguous.

        Raises:
            UserError: As for `read`.
        """
        if self._all_channels:
            self._read_run("fields", first, out)
        else:
            out[...] = self.read(slice(first, first + len(out)))

    def read_runs(self, runs: Sequence[tuple[int, np.ndarray]]) -> None:
        """Read several runs of days in parallel, see `read_run`.

        Args:
            runs: For each run the position of its first day, and the array to fill.
        """
        if len(runs) < 2 or get_worker_info() is not None:  # workers already run in parallel
            for first, out in runs:
                self.read_run(first, out)
        else:
            if reader := self._open_array("fields")[1]:
                for first, out in runs:
                    reader.expect(first, len(out))
            list(self._threads.map(lambda run: self.read_run(*run), runs))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        # Over HTTP, threads wait for answers rather than for processors.
        count = 8 if is_url(self.path) else min(os.cpu_count() or 1, 8)
        return ThreadPoolExecutor(count, thread_name_prefix="slams-decode")

    @cached_property
    def _all_channels(self) -> bool:
        # Cached: looking up an array in a group takes as long as decoding a window.
        return self.channel_index == tuple(range(self._open_array("fields")[0].shape[1]))

    @cached_property
    def _group(self) -> zarr.Group:
        return open_group(self.path)

    @cached_property
    def _checksums(self) -> dict[str, list[str]] | None:
        return read_checksums(self.path)

    @cached_property
    def _opened(self) -> dict[str, tuple[zarr.Array, ShardReader | None]]:
        return {}

    def _open_array(self, name: str) -> tuple[zarr.Array, ShardReader | None]:
        """Return an array and the reader of its files, `None` if Zarr must read them."""
        # Cached: a store that is moved in the meantime is detected when one of its files is read.
        if name not in self._opened:
            self._check_in_place()
            array = self._group[name]
            self._opened[name] = array, ShardReader.of(files_of(self.path), array)
        return self._opened[name]

    def _read(self, name: str, index: slice | Sequence[int] | np.ndarray) -> np.ndarray:
        array = self._open_array(name)[0]
        if isinstance(index, slice):
            index = np.arange(len(self.time))[index]
        index = np.asarray(index, dtype=np.int64)
        wanted, place = np.unique(index, return_inverse=True)
        out = np.empty((len(wanted), *array.shape[1:]), dtype=np.float32)
        # Contiguous runs, because a slice costs far less than single steps.
        cuts = np.flatnonzero(np.diff(wanted) != 1) + 1
        for run in np.split(np.arange(len(wanted)), cuts) if len(wanted) else ():
            self._read_run(name, int(wanted[run[0]]), out[run[0] : run[-1] + 1])
        return out if np.array_equal(wanted, index) else out[place]

    def _read_run(self, name: str, first: int, out: np.ndarray) -> None:
        try:
            self._decode(name, first, out)
        except UserError:
            raise
        except Exception as error:
            raise self._damaged(name, first, out, error) from error

    def _decode(self, name: str, first: int, out: np.ndarray) -> None:
        array, reader = self._open_array(name)
        if name == "fields" and "packing" in self.attributes:
            self._check_there(array, first, len(out))
            out[...] = self._unpacked(first, array[first : first + len(out)])
        elif reader is None:
            out[...] = array[first : first + len(out)]
        else:
            reader.read(first, out)

    def _check_in_place(self) -> None:
        """Refuse a store that was moved since it was opened.

        Raises:
            UserError: There is nothing at its path any more.
        """
        if isinstance(self.path, Path) and not self.path.exists():
            raise UserError(
                f"training store {self.path}: moved or removed while in use; restore it and "
                f"run the same command again"
            )

    def _check_there(self, array: zarr.Array, first: int, count: int) -> None:
        """Refuse a missing file, which Zarr would read as anomalies of zero."""
        for step in range(first, first + count):
            if not (Path(self.path) / (file := shard_file(array, step))).is_file():
                raise FileNotFoundError(file)

    def _unpacked(self, first: int, packed: np.ndarray) -> np.ndarray:
        """Return physical fields of consecutive days from their packed anomalies, all channels."""
        normaliser = self._normaliser_of_all
        time = torch.from_numpy(self.time[first : first + len(packed), None])
        anomaly = torch.from_numpy(unpack(packed)).unsqueeze(1)
        state = normaliser.denormalise(anomaly, normaliser.climatology(time))
        return normaliser.to_physical(state)[:, 0].numpy()

    @cached_property
    def _normaliser_of_all(self) -> Normaliser:
        """Return the normaliser of all channels of the store."""
        specs = tuple(FieldSpec.parse(name) for name in self.attributes["channels"])
        index = tuple(range(len(specs)))
        return replace(self, channels=specs, channel_index=index).normaliser()

    def _damaged(self, name: str, first: int, out: np.ndarray, error: Exception) -> Exception:
        """Return an error that names the first step that cannot be read."""
        self._check_in_place()
        for step in range(first, first + len(out)):
            try:
                self._decode(name, step, out[:1])
            except Exception as cause:
                if isinstance(cause, UserError):
                    return cause
                missing = isinstance(cause, FileNotFoundError)
                return UserError(
                    f"training store {self.path}: {name} of {iso_date(self.time[step])} cannot "
                    f"be read, file {shard_file(self._open_array(name)[0], step)} is "
                    f"{'missing' if missing else 'truncated or corrupt'}; run `slams prepare` "
                    f"with resume=overwrite to write the store again"
                )
        return error
