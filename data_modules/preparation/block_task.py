"""The work on one block of time: read from the source, check, regrid, write, sum.

A block's files are written one after the other, each with its record (`manifest`). A file with a
record is read back instead of the source, so that an interrupted preparation resumes from there,
and its statistics are identical to those of an uninterrupted one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from data_modules.preparation.blocks import clear_noise
from data_modules.preparation.moments import Frame, Moments
from data_modules.preparation.plan import Plan, masked_channels, plan
from data_modules.store.checks import shard_file
from data_modules.store.manifest import Record, read_record, write_record
from data_modules.store.writing import digest
from slams.config.schema import DataConfig
from slams.plugins.sources import SOURCES

__all__ = ["REFERENCE_FIELD", "BlockWork", "reference_field"]

# File of an unfinished store: the reference field that is subtracted in all sums.
REFERENCE_FIELD = "first_guess.npy"


def reference_field(work: Plan) -> np.ndarray:
    """Read the first training day, regridded to the store, `(C, H, W)` float32 physical."""
    assert work.train is not None
    step = int(np.flatnonzero(work.train.contains(work.time))[0])
    return work.read(step, step + 1)[0]


@dataclass(frozen=True)
class _Opened:
    """State shared by the blocks of a process.

    Attributes:
        work: The plan, with the sources open.
        fields: The array of fields.
        frame: Frame of the sums, or `None` where statistics are taken from another store.
    """

    work: Plan
    fields: zarr.Array
    frame: Frame | None


class BlockWork:
    """Task that finishes blocks; source and store are opened once, at the first block.

    Threads share one object. A pickled copy opens them again in the process that receives it, and
    imports there the plug-ins that the user has named in this process.

    Args:
        data: The recipe's section `data`.
        partial: Directory of the unfinished store, with its arrays created.
        read_steps: Steps read from the source at a time.
    """

    def __init__(self, data: DataConfig, partial: Path, read_steps: int) -> None:
        self.data, self.partial, self.read_steps = data, partial, read_steps
        self._opened: _Opened | None = None
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[Callable[..., BlockWork], tuple[Any, ...]]:
        return _sent, (self.data, self.partial, self.read_steps, SOURCES.references())

    def __call__(self, start: int, stop: int) -> Moments | None:
        """Finish the files of steps `[start, stop)`.

        Returns:
            The sums over the training days among these steps; `None` if there are none, or if
            statistics are taken from another store.

        Raises:
            UserError: The source cannot be read or holds values that are not allowed.
        """
        opened = self._open()
        work, fields, frame = opened.work, opened.fields, opened.frame
        steps = fields.shards[0]
        total: Moments | None = None
        for first in range(start, stop, steps):
            last = min(first + steps, stop)
            time = work.time[first:last]
            train = np.zeros(len(time), bool) if work.train is None else work.train.contains(time)
            needed = bool(train.any()) and frame is not None
            record = read_record(self.partial, first // steps)
            values = self._finished(fields, record, first, last, needed) if record else None
            if values is None:
                values = self._write(work, fields, first, last)
            if not needed or values is None or not len(values):
                continue
            part = Moments.of_days(frame, values if train.all() else values[train], time[train])
            del values
            if total is None:
                total = part
            else:
                total.merge(part)
        return total

    def _finished(
        self, fields: zarr.Array, record: Record, first: int, last: int, needed: bool
    ) -> np.ndarray | None:
        """Return the values of a finished file, `None` if it is damaged.

        The array is empty where the values are not `needed`.
        """
        file = self.partial / shard_file(fields, first)
        if not file.is_file() or file.stat().st_size != record.size:
            return None
        if not needed:
            return np.empty(0, np.float32)
        try:
            values = np.asarray(fields[first:last])
        except Exception:  # a file that cannot be read for any reason is written again
            return None
        return values if digest(values) == record.sha256 else None

    def _write(self, work: Plan, fields: zarr.Array, first: int, last: int) -> np.ndarray:
        """Write one file of fields, and its record; return its values."""
        out = np.empty((last - first, *fields.shape[1:]), np.float32)
        for start in range(first, last, self.read_steps):
            stop = min(start + self.read_steps, last)
            out[start - first : stop - first] = work.read(start, stop)
        cleared = clear_noise(out, work.channels)
        # Zarr would read an existing file before overwriting it.
        (self.partial / shard_file(fields, first)).unlink(missing_ok=True)
        fields[first:last] = out
        shard = first // fields.shards[0]
        record = Record.of_file(self.partial, fields, shard, out)
        write_record(self.partial, replace(record, cleared=cleared))
        return out

    def _open(self) -> _Opened:
        with self._opening:
            if self._opened is None:
                self.open(plan(self.data))
            assert self._opened is not None
            return self._opened

    def open(self, work: Plan) -> None:
        """Open the store, with an existing plan."""
        # Files without any value are written too, so that a lost file can be detected.
        with zarr.config.set({"array.write_empty_chunks": True}):
            group = zarr.open_group(
                str(self.partial), mode="r+", zarr_format=3, use_consolidated=False
            )
            fields = group["fields"]
        frame = None
        if work.train is not None:
            frame = Frame.about(
                np.load(self.partial / REFERENCE_FIELD),
                work.channels,
                self.data.harmonics,
                self.data.lags,
                masked_channels(work, self.data.lags),
            )
        self._opened = _Opened(work, fields, frame)


def _sent(data: DataConfig, partial: Path, read_steps: int, plugins: tuple[str, ...]) -> BlockWork:
    """Rebuild the task in the process that receives it."""
    for reference in plugins:
        SOURCES.admit(reference, "plugins")
    return BlockWork(data, partial, read_steps)
