"""The fields of a store, uncompressed: in memory, or in a memory-mapped file.

Most of the cost of a window is decompression; an uncompressed copy is read at the speed of memory.
The file, `fields-KEY.npy` in NumPy format, contains all days of the channels in use. Its key
depends on the store's fingerprint and the channels, so that other data have another file. It is
built once, by the first process, under a lock, and appears by renaming; `fields-KEY.json` in the
same directory has size and checksums, which are compared on opening.

All windows of a batch are announced to the system before the first is copied from the map, because
touching a map page by page waits for the disk each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.store.files import is_url
from data_modules.store.periods import runs_of
from data_modules.store.training_store import TrainingStore
from slams.errors import UserError
from slams.runtime.atomic import replacing, write_text
from slams.runtime.directories import exclusive
from slams.runtime.ranks import say

__all__ = [
    "MappedFields",
    "MemoryFields",
    "cache_directory",
    "load_fields",
    "map_fields",
    "verify_caches",
]

_VERSION = 1
# Days per block for reading, writing and checksums.
_BLOCK = 64


class MemoryFields:
    """Fields in memory.

    Args:
        fields: `(N, C, H, W)` float32.
    """

    def __init__(self, fields: np.ndarray) -> None:
        self.fields = fields

    def fill(self, index: np.ndarray, out: np.ndarray) -> None:
        """Copy days.

        Args:
            index: `(n,)` positions on the time axis, in any order; negative ones are skipped.
            out: `(n, C, H, W)` float32, C-contiguous.
        """
        for place, first, count in runs_of(index):
            np.copyto(out[place : place + count], self.fields[first : first + count])


class MappedFields(MemoryFields):
    """Fields in a memory-mapped NumPy file; picklable, opened again in each process.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map: np.memmap | None = None

    @property
    def fields(self) -> np.ndarray:  # type: ignore[override]
        """Return the map, `(N, C, H, W)` float32."""
        if self._map is None:
            self._map = np.load(self.path, mmap_mode="r")
        # A plain array: slicing a `memmap` involves an additional Python call.
        return self._map.view(np.ndarray)

    def fill(self, index: np.ndarray, out: np.ndarray) -> None:
        """Copy days, see `MemoryFields`."""
        size = self.fields[0].nbytes
        mapped, offset = self._map._mmap, self._map.offset
        # All reads are announced to the disk before waiting for the first.
        for _, first, count in runs_of(index):
            begin = offset + first * size
            page = begin // mmap.PAGESIZE * mmap.PAGESIZE
            with contextlib.suppress(AttributeError, OSError):
                mapped.madvise(mmap.MADV_WILLNEED, page, begin + count * size - page)
        super().fill(index, out)

    def close(self) -> None:
        """Release the map; reading opens it again."""
        self._map = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_map": None}


def load_fields(store: TrainingStore) -> MemoryFields:
    """Read all days of a store into memory."""
    fields = np.empty((len(store.time), len(store.channels), *store.grid.shape), np.float32)
    starts = range(0, len(fields), _BLOCK)
    store.read_runs([(start, fields[start : start + _BLOCK]) for start in starts])
    return MemoryFields(fields)


def cache_directory(store: TrainingStore, directory: str) -> Path:
    """Return the directory of a store's cache: `directory`, or one next to the store.

    Raises:
        UserError: `directory` is empty, and the store is on a server.
    """
    if directory:
        return Path(directory)
    if is_url(str(store.path)):
        raise UserError(
            f"key 'data.cache_directory': found nothing, expected a directory on a disk of this "
            f"machine, since the store {store.path} is on a server"
        )
    path = Path(store.path)
    return path.with_name(f"{path.name}.cache")


def map_fields(store: TrainingStore, directory: Path) -> MappedFields:
    """Open the cache file of a store; build it first if it is missing or damaged.

    Args:
        store: The store, with only the channels in use.
        directory: Directory of the cache files.

    Raises:
        UserError: The file cannot be written to the directory.
    """
    path = directory / f"fields-{_key(store)}.npy"
    shape = (len(store.time), len(store.channels), *store.grid.shape)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Other ranks and processes wait here until it is built.
        with exclusive(path.with_name(f"{path.name}.lock")):
            if not _whole(path, shape):
                _build(store, path, shape)
                # Read back once, while it is in the page cache.
                if not _whole(path, shape, everything=True):
                    raise UserError(
                        f"cache {path}: it does not match what was written; the disk of "
                        f"data.cache_directory is damaged, choose another, or set data.cache=none"
                    )
    except IsADirectoryError as error:
        raise UserError(
            f"cache {error.filename2 or error.filename} is a directory, expected a file; move it "
            f"away, it is built again"
        ) from error
    except PermissionError as error:
        raise UserError(
            f"cache {path}: no permission to write there; set data.cache_directory to another "
            f"directory, or data.cache=none"
        ) from error
    return MappedFields(path)


def verify_caches(store: Path) -> int:
    """Read the cache files next to a store, and compare them with their checksums.

    Args:
        store: The store; caches in `data.cache_directory` are not checked.

    Returns:
        The number of files.

    Raises:
        UserError: A file has changed since it was written, or is incomplete.
    """
    files = sorted(store.with_name(f"{store.name}.cache").glob("fields-*.npy"))
    for path in files:
        if not _whole(path, None, everything=True):
            raise UserError(
                f"cache {path}: it has changed since it was written; remove it, it is built again"
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
            f"cache {path}: needs {size / 1e9:.2f} GB, found {free / 1e9:.2f} GB free; set "
            f"data.cache_directory to another disk, or data.cache=none"
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
        # Before the file itself: a record without its file does no harm.
        record = {"store": store.fingerprint, "size": written, "crc32": sums, "days": _BLOCK}
        write_text(path.with_suffix(".json"), json.dumps(record))


def _whole(path: Path, shape: tuple[int, ...] | None, everything: bool = False) -> bool:
    """Return whether a cache file is complete and blocks of days match their checksums.

    Args:
        path: The file.
        shape: Expected shape; `None` for any.
        everything: Whether to compare every block rather than the first and the last.
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
        # Comparing all blocks would read the whole file from disk at each start.
        some = range(len(sums)) if everything else {0, len(sums) - 1} if sums else ()
        for block in some:
            values = np.ascontiguousarray(fields[block * _BLOCK : (block + 1) * _BLOCK])
            if zlib.crc32(values.data) != sums[block]:
                return False
        return True
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
