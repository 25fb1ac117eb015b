"""A file at a network address that is read in ranges, for libraries that expect a file."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["open_remote_file"]

# Smallest request (bytes): the metadata of NetCDF are many small pieces near one another.
_PIECE = 1 << 16


class _RemoteFile(io.RawIOBase):
    """One object of an object store, read in ranges."""

    def __init__(self, store: Any, name: str) -> None:
        import obstore

        self._store, self._name = store, name
        self._size = int(obstore.head(store, name)["size"])
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        import obstore

        count = min(len(buffer), self._size - self._place)
        if count <= 0:
            return 0
        start, stop = self._place, self._place + count
        buffer[:count] = memoryview(
            obstore.get_range(self._store, self._name, start=start, end=stop)
        )
        self._place = stop
        return count


def open_remote_file(store: Any, name: str) -> io.BufferedReader:
    """Open an object of an object store (obstore) as a file that is read in ranges."""
    return io.BufferedReader(_RemoteFile(store, name), buffer_size=_PIECE)
