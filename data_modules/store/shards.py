"""Reading steps from the shards of a training store, without Zarr.

The layout written by `writing.create_steps` is simple: a file contains `S` steps, each in one
chunk (little-endian float32, Blosc, CRC-32C), and ends in an index of `S` pairs (offset, size;
uint64) with a CRC-32C. Zarr uses coroutines and several buffers for every chunk, which takes
longer than decoding it; here one read fetches neighbouring steps, and each is decoded into its
place in the batch. Arrays of any other layout are read by Zarr.

Source: the sharding codec of the Zarr specification, version 3 (ZEP 2).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc

from data_modules.store.files import StoreFiles

__all__ = ["ShardReader"]

# Blosc's threads would wait for one another within each chunk; days are decoded in parallel.
blosc.use_threads = False
_MISSING = np.iinfo(np.uint64).max
_CHECKSUM_BYTES = 4


class ShardReader:
    """Reader of the steps of one array over time.

    Args:
        files: Files of the store.
        name: Name of the array.
        shape: Shape of one step.
        steps: Steps per file, `S`.
        checked: Whether chunks have a CRC-32C.
    """

    def __init__(
        self, files: StoreFiles, name: str, shape: tuple[int, ...], steps: int, checked: bool
    ) -> None:
        self.shape, self.steps = shape, steps
        self._files, self._name, self._checked = files, name, checked
        self._index: dict[int, np.ndarray] = {}
        self._rooms = threading.local()

    @classmethod
    def of(cls, files: StoreFiles, array: zarr.Array) -> ShardReader | None:
        """Return the reader of an array; `None` if its layout is a different one."""
        checked = _layout(array)
        if checked is None:
            return None
        steps = array.shards[0]  # type: ignore[index]
        return cls(files, array.basename, array.shape[1:], steps, checked)

    def read(self, first: int, out: np.ndarray) -> None:
        """Read consecutive steps from `first` on into `(n, *shape)` float32, C-contiguous.

        Raises:
            FileNotFoundError: A file is missing.
            EOFError, ValueError: A file is truncated, or one of its chunks is missing or corrupt.
            UserError: A file cannot be read at present.
        """
        done = 0
        for shard, place, count in self._parts(first, len(out)):
            self._read_shard(shard, place, out[done : done + count])
            done += count

    def expect(self, first: int, count: int) -> None:
        """Announce that consecutive steps will soon be read, so that the disk can fetch them.

        Files whose index has not been read yet are skipped.
        """
        for shard, place, n in self._parts(first, count):
            if shard not in self._index:
                continue
            index = self._index[shard][place : place + n]
            if not (index == _MISSING).any():  # a missing chunk is reported on reading
                begin, end = _extent(index)
                self._files.expect(self._key(shard), begin, end - begin)

    def _parts(self, first: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Divide consecutive steps by file: number of the file, first step in it, count."""
        last = first + count
        while first < last:
            shard, place = divmod(first, self.steps)
            n = min(self.steps - place, last - first)
            yield shard, place, n
            first += n

    def file(self, step: int) -> str:
        """Return the key of the file that contains a step."""
        return self._key(step // self.steps)

    def _key(self, shard: int) -> str:
        return "/".join([self._name, "c", str(shard), *["0"] * len(self.shape)])

    def _read_shard(self, shard: int, place: int, out: np.ndarray) -> None:
        index = self._read_index(shard)[place : place + len(out)]
        if (index == _MISSING).any():
            raise ValueError(f"{self._key(shard)}: a chunk is missing")
        begin, end = _extent(index)
        if end - begin > 2 * int(index[:, 1].sum()):
            # Written out of order: fetching everything in between would cost more than reading
            # the chunks one by one.
            parts = (self._files.read(self._key(shard), int(o), int(n)) for o, n in index)
            views = [np.frombuffer(part, np.uint8) for part in parts]
        else:
            data = self._room(end - begin)
            self._files.read_into(self._key(shard), begin, memoryview(data))
            views = [data[int(o) - begin : int(o) - begin + int(n)] for o, n in index]
        for view, target in zip(views, out, strict=True):
            blosc.decompress(self._verified(view, shard), target)

    def _room(self, size: int) -> np.ndarray:
        """Return a reusable buffer of this thread: allocation would cost as much as the read."""
        room = getattr(self._rooms, "bytes", None)
        if room is None or room.size < size:
            room = self._rooms.bytes = np.empty(size, np.uint8)
        return room[:size]

    def _read_index(self, shard: int) -> np.ndarray:
        """Return `(S, 2)` offsets and sizes, cached since a file is read many times."""
        if shard not in self._index:
            size = 16 * self.steps
            data = self._files.read(self._key(shard), -(size + _CHECKSUM_BYTES))
            values = self._check(np.frombuffer(data, np.uint8), shard)
            self._index[shard] = values.view("<u8").reshape(-1, 2)
        return self._index[shard]

    def _verified(self, chunk: np.ndarray, shard: int) -> np.ndarray:
        return self._check(chunk, shard) if self._checked else chunk

    def _check(self, data: np.ndarray, shard: int) -> np.ndarray:
        """Return data without the CRC-32C at its end, which is compared."""
        values, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if google_crc32c.value(values) != int.from_bytes(checksum.tobytes(), "little"):
            raise ValueError(f"{self._key(shard)}: a checksum does not match")
        return values


def _extent(index: np.ndarray) -> tuple[int, int]:
    """Return the first byte of some chunks, and the one after the last."""
    return int(index[:, 0].min()), int(index.sum(axis=1).max())


def _layout(array: zarr.Array) -> bool | None:
    """Return whether chunks have a checksum; `None` for a layout that is not supported."""
    described: dict[str, Any] = array.metadata.to_dict()  # type: ignore[assignment]
    codecs = described.get("codecs", ())
    whole = (1, *array.shape[1:])
    if array.shards is None or array.chunks != whole or array.shards[1:] != array.shape[1:]:
        return None
    if array.dtype != np.dtype("float32") or len(codecs) != 1:
        return None
    sharding = codecs[0]["configuration"]
    inner = [_plain(codec) for codec in sharding["codecs"]]
    index = [_plain(codec) for codec in sharding["index_codecs"]]
    little = ("bytes", "little")
    location = sharding.get("index_location", "end")
    if getattr(location, "value", location) != "end" or index != [little, ("crc32c", None)]:
        return None
    names = [name for name, _ in inner]
    if inner[:1] != [little] or names not in (["bytes", "blosc"], ["bytes", "blosc", "crc32c"]):
        return None
    return names[-1] == "crc32c"


def _plain(codec: dict[str, Any]) -> tuple[str, str | None]:
    endian = codec.get("configuration", {}).get("endian")
    return codec["name"], getattr(endian, "value", endian)
