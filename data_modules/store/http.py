"""The Zarr interface to the metadata and small arrays of a store over HTTP.

Zarr reads a missing chunk as missing values. Here only metadata may be missing (which is how Zarr
tests what exists); a chunk that is missing on the server is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from data_modules.store.files import HttpFiles

__all__ = ["HttpStore"]

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


class HttpStore(Store):
    """Read-only Zarr store over HTTP.

    Args:
        files: The files.
    """

    supports_writes = False
    supports_deletes = False
    supports_partial_writes = False
    supports_listing = False

    def __init__(self, files: HttpFiles) -> None:
        super().__init__(read_only=True)
        self.files = files

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HttpStore) and other.files.url == self.files.url

    def __str__(self) -> str:
        return self.files.url

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a file, or bytes of it; return `None` for missing metadata.

        Raises:
            FileNotFoundError: A chunk is missing.
            UserError: The file cannot be read at present.
        """
        try:
            data = await asyncio.to_thread(self.files.read, key, *_bounds(byte_range))
        except FileNotFoundError:
            if key.rpartition("/")[2] in _METADATA:
                return None
            raise
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Read several ranges concurrently."""
        return list(await asyncio.gather(*(self.get(k, prototype, r) for k, r in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Return whether a file exists."""
        try:
            await asyncio.to_thread(self.files.read, key)
        except FileNotFoundError:
            return False
        return True

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: the store is read-only."""
        raise PermissionError(f"{self.files.url} is read-only")

    async def delete(self, key: str) -> None:
        """Refuse: the store is read-only."""
        raise PermissionError(f"{self.files.url} is read-only")

    def list(self) -> AsyncIterator[str]:
        """Refuse: HTTP cannot list files."""
        raise NotImplementedError("HTTP cannot list files")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refuse: HTTP cannot list files."""
        return self.list()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Refuse: HTTP cannot list files."""
        return self.list()


def _bounds(request: ByteRequest | None) -> tuple[Any, ...]:
    """Convert Zarr's request to first byte and length."""
    if isinstance(request, RangeByteRequest):
        return request.start, request.end - request.start
    if isinstance(request, OffsetByteRequest):
        return (request.offset,)
    if isinstance(request, SuffixByteRequest):
        return (-request.suffix,)
    return ()
