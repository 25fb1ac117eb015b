"""The fields of a store, uncompressed: in memory, or in a file that is mapped into memory.

Decompression is what a window costs; a copy without it is read at the speed of memory. The file,
`fields-KEY.npy` in the NumPy format, holds all days of the channels in use. Its key is made of the
store's fingerprint and the channels, so that other data get another file. It is built once, by
whichever process comes first, under a lock, and appears by renaming; beside it stands
`fields-KEY.json` with size and checksums, which are looked at when it is opened.

A file that is not in the page cache is read in one go a window (`preadv`), because touching a map
page by page waits for the disk at each step; what is there is copied out of the map.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data_modules.store.files import is_url
from data_modules.store.training_store import TrainingStore
from slams.errors import UserError
from slams.runtime.atomic import replacing, write_text
from slams.runtime.directories import exclusive
from slams.runtime.ranks import say

__all__ = ["FieldSource", "MappedFields", "MemoryFields", "cache_directory", "map_fields"]
__all__ += ["load_fields", "runs_of", "verify_caches"]

_VERSION = 1
# Days that are read, written and summed up at a time.
_BLOCK = 64


class FieldSource(Protocol):
    """Gives days of fields, one copy a window."""

    def fill(self, index: np.ndarray, out: np.ndarray) -> None:
        """Copy days.

        Args:
            index: `(n,)` positions on the time axis, in any order; negative ones are passed over.
            out: `(n, C, H, W)` float32, C-contiguous.
        """


def runs_of(index: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Cut positions into runs of consecutive ones: place in `index`, first position, length.

    Negative positions belong to none.
    """
    # A plain loop: on the days of a batch NumPy takes three times as long.
    positions = index.tolist()
    start = 0
    for place in range(1, len(positions) + 1):
        before = positions[place - 1]
        if place == len(positions) or before < 0 or positions[place] != before + 1:
            if positions[start] >= 0:
                yield start, positions[start], place - start
            start = place


class MemoryFields:
    """Holds fields in memory.

    Args:
        fields: `(N, C, H, W)` float32.
    """

    def __init__(self, fields: np.ndarray) -> None:
        self.fields = fields

    def fill(self, index: np.ndarray, out: np.ndarray) -> None:
        """Copy days, see `FieldSource`."""
        for place, first, count in runs_of(index):
            np.copyto(out[place : place + count], self.fields[first : first + count])


class MappedFields:
    """Reads fields from a file in the NumPy format; picklable, opened again in each process.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map: np.ndarray | None = None
        self._offset = 0
        self._file = -1
        # Whether the system tells what is in the page cache, and whether the last batch was there.
        self._tells, self._warm = True, False

    @property
    def fields(self) -> np.ndarray:
        """Return the map, `(N, C, H, W)` float32."""
        if self._map is None:
            mapped = np.load(self.path, mmap_mode="r")
            # A plain array: each slice of a `memmap` is a Python call of its own.
            self._map, self._offset = np.asarray(mapped).view(np.ndarray), mapped.offset
            self._file = os.open(self.path, os.O_RDONLY)
        return self._map

    def fill(self, index: np.ndarray, out: np.ndarray) -> None:
        """Copy days, see `FieldSource`."""
        fields = self.fields
        size = fields[0].nbytes
        # To ask the system of each window takes a tenth of the time of copying it: while all is in
        # the page cache it is only asked afterwards whether anything had to be fetched.
        faults = _major_faults() if self._warm else -1
        absent = []
        for place, first, count in runs_of(index):
            begin = self._offset + first * size
            if faults >= 0 or self._resident(begin, begin + count * size):
                np.copyto(out[place : place + count], fields[first : first + count])
            else:
                absent.append((place, begin, count))
        self._warm = not absent and (faults < 0 or _major_faults() == faults)
        # The disk is told of all that is wanted before the first is waited for.
        for _, begin, count in absent:
            with contextlib.suppress(AttributeError, OSError):
                os.posix_fadvise(self._file, begin, count * size, os.POSIX_FADV_WILLNEED)
        for place, begin, count in absent:
            self._read(begin, memoryview(out[place : place + count]).cast("B"))

    def _resident(self, begin: int, end: int) -> bool:
        """Return from three bytes whether a range is in the page cache.

        Where the system cannot tell, it is taken to be.
        """
        if not self._tells:
            return True
        byte = bytearray(1)
        try:
            for place in (begin, (begin + end) // 2, end - 1):
                os.preadv(self._file, [byte], place, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except (AttributeError, OSError):
            self._tells = False
        return True

    def _read(self, begin: int, out: memoryview) -> None:
        while len(out):
            count = os.preadv(self._file, [out], begin)
            if count == 0:
                raise UserError(f"cache {self.path}: it was cut short; remove it, it is made anew")
            begin, out = begin + count, out[count:]

    def close(self) -> None:
        """Release the map and the file; reading opens them again."""
        if self._file >= 0:
            os.close(self._file)
        self._map, self._file = None, -1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def __del__(self) -> None:
        self.close()


def _major_faults() -> int:
    """Count how often this thread has waited for a page from the disk; -1 where none can tell."""
    try:
        from resource import RUSAGE_THREAD, getrusage  # Linux
    except ImportError:
        return -1
    return getrusage(RUSAGE_THREAD).ru_majflt


def load_fields(store: TrainingStore) -> MemoryFields:
    """Read all days of a store into memory."""
    fields = np.empty((len(store.time), len(store.channels), *store.grid.shape), np.float32)
    starts = range(0, len(fields), _BLOCK)
    store.read_runs([(start, fields[start : start + _BLOCK]) for start in starts])
    return MemoryFields(fields)


def cache_directory(store: TrainingStore, directory: str) -> Path:
    """Return the directory of a store's cache: the one named, or one beside the store.

    Raises:
        UserError: None is named, and the store lies on a server.
    """
    if directory:
        return Path(directory)
    if is_url(str(store.path)):
        raise UserError(
            f"key 'data.cache_directory': found none, expected a directory on a disk of this "
            f"machine, since there is no place beside the store {store.path}"
        )
    path = Path(store.path)
    return path.with_name(f"{path.name}.cache")


def map_fields(store: TrainingStore, directory: Path) -> MappedFields:
    """Open the cache file of a store, which is built first where there is none or a damaged one.

    Args:
        store: The store, narrowed to the channels in use.
        directory: Where cache files lie.

    Raises:
        UserError: The file cannot be written there.
    """
    path = directory / f"fields-{_key(store)}.npy"
    shape = (len(store.time), len(store.channels), *store.grid.shape)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Ranks and processes that come later wait here, and find it built.
        with exclusive(path.with_name(f"{path.name}.lock")):
            if not _whole(path, shape):
                _build(store, path, shape)
                # Read back once, while it is in the page cache.
                if not _whole(path, shape, everything=True):
                    raise UserError(
                        f"cache {path}: what was read back is not what was written; the disk "
                        f"under data.cache_directory is damaged, name another, or set "
                        f"data.cache=none"
                    )
    except IsADirectoryError as error:
        raise UserError(
            f"cache {error.filename2 or error.filename} is a directory, expected a file; move it "
            f"away, it is made anew"
        ) from error
    except PermissionError as error:
        raise UserError(
            f"cache {path}: no permission to write there; name another place under "
            f"data.cache_directory, or set data.cache=none"
        ) from error
    return MappedFields(path)


def verify_caches(store: Path) -> int:
    """Read the cache files beside a store, and compare all of them with their checksums.

    Args:
        store: The store; caches under `data.cache_directory` are not looked for.

    Returns:
        The number of files.

    Raises:
        UserError: One has changed since it was written, or is incomplete.
    """
    files = sorted(store.with_name(f"{store.name}.cache").glob("fields-*.npy"))
    for path in files:
        if not _whole(path, None, everything=True):
            raise UserError(
                f"cache {path}: it has changed since it was written; remove it, it is made anew"
            )
    return len(files)


def _key(store: TrainingStore) -> str:
    parts = [str(_VERSION), store.fingerprint, *(c.name for c in store.channels)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _build(store: TrainingStore, path: Path, shape: tuple[int, ...]) -> None:
    size = 4 * int(np.prod(shape))
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise UserError(
            f"cache {path}: needs {size / 1e9:.2f} GB, found {free / 1e9:.2f} GB free; name "
            f"another disk under data.cache_directory, or set data.cache=none"
        )
    say(f"writing the cache {path} ({size / 1e9:.2f} GB)")
    sums = []
    with replacing(path) as part:
        with part.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            block = np.empty((min(_BLOCK, shape[0]), *shape[1:]), np.float32)
            for start in range(0, shape[0], _BLOCK):
                values = block[: min(_BLOCK, shape[0] - start)]
                store.read_run(start, values)
                sums.append(zlib.crc32(values.data))
                file.write(values.data)
        written = part.stat().st_size
        # Before the file itself: what describes a file that is not there does no harm.
        record = {"store": store.fingerprint, "size": written, "crc32": sums, "days": _BLOCK}
        write_text(path.with_suffix(".json"), json.dumps(record))


def _whole(path: Path, shape: tuple[int, ...] | None, everything: bool = False) -> bool:
    """Return whether a cache file is complete; compare blocks of days with their checksums.

    Args:
        path: The file.
        shape: Shape that is expected, any where it is `None`.
        everything: Compare every block, in the place of the first and the last.
    """
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        if path.stat().st_size != record["size"]:
            return False
        fields = np.load(path, mmap_mode="r")
        if shape not in (None, fields.shape) or fields.dtype != np.dtype("<f4"):
            return False
        sums = record["crc32"]
        if len(sums) != -(-len(fields) // _BLOCK):
            return False
        # The whole of it would be read from disk at each start.
        some = range(len(sums)) if everything else {0, len(sums) - 1} if sums else ()
        for block in some:
            values = np.ascontiguousarray(fields[block * _BLOCK : (block + 1) * _BLOCK])
            if zlib.crc32(values.data) != sums[block]:
                return False
        return True
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
