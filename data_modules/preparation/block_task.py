"""The work on one block of time: read from the source, check, regrid, write.

A block's files are written one after the other, each with its record (`manifest`). A file with a
record whose values still have its checksum is finished, so that an interrupted preparation resumes
from there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from data_modules.preparation.blocks import clear_noise
from data_modules.preparation.plan import Plan, plan
from data_modules.store.checks import shard_file
from data_modules.store.manifest import Record, read_record, write_record
from data_modules.store.writing import digest
from slams.config.schema import DataConfig
from slams.plugins.sources import SOURCES

__all__ = ["BlockWork"]


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
        self._opened: tuple[Plan, zarr.Array] | None = None
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[Callable[..., BlockWork], tuple[Any, ...]]:
        return _sent, (self.data, self.partial, self.read_steps, SOURCES.references())

    def __call__(self, start: int, stop: int) -> None:
        """Finish the files of steps `[start, stop)`.

        Raises:
            UserError: The source cannot be read or holds values that are not allowed.
        """
        work, fields = self._open()
        steps = fields.shards[0]
        for first in range(start, stop, steps):
            last = min(first + steps, stop)
            if not self._is_finished(fields, first, last):
                self._write(work, fields, first, last)

    def _is_finished(self, fields: zarr.Array, first: int, last: int) -> bool:
        """Return whether a file has a record and is undamaged."""
        record = read_record(self.partial, first // fields.shards[0])
        file = self.partial / shard_file(fields, first)
        if record is None or not file.is_file() or file.stat().st_size != record.size:
            return False
        try:
            return digest(np.asarray(fields[first:last])) == record.sha256
        except Exception:  # a file that cannot be read for any reason is written again
            return False

    def _write(self, work: Plan, fields: zarr.Array, first: int, last: int) -> None:
        """Write one file of fields, and its record."""
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

    def _open(self) -> tuple[Plan, zarr.Array]:
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
            self._opened = work, group["fields"]


def _sent(data: DataConfig, partial: Path, read_steps: int, plugins: tuple[str, ...]) -> BlockWork:
    """Rebuild the task in the process that receives it."""
    for reference in plugins:
        SOURCES.admit(reference, "plugins")
    return BlockWork(data, partial, read_steps)
