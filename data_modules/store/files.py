"""Access to the files of a store: in a directory, or on a web server or bucket over HTTP.

Both read ranges of bytes, since the reader of shards needs some chunks of a file, and both
distinguish a missing file from one that cannot be read. Over HTTP, temporary failures (no answer,
a lost connection, a busy server) are retried with growing pauses; a permanent failure ends in one
sentence that names the file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import urllib.request
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import urllib3

from slams.errors import UserError

__all__ = ["HttpFiles", "LocalFiles", "StoreFiles", "files_of", "is_url"]


def is_url(path: str | Path) -> bool:
    """Return whether the path of a store is a web address."""
    return str(path).startswith(("http://", "https://"))


def files_of(path: str | Path) -> StoreFiles:
    """Return access to the files of a store."""
    return HttpFiles(str(path)) if is_url(path) else LocalFiles(Path(path))


class LocalFiles:
    """Access to the files of a store in a directory.

    Args:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file.

        Args:
            key: Name of the file, relative to the store.
            start: First byte; a negative number counts from the end of the file.
            length: Number of bytes; `None` reads to the end.

        Raises:
            FileNotFoundError: There is no such file.
            EOFError: The file is shorter than the range.
        """
        size = (self.path / key).stat().st_size
        if start < 0:
            start += size
        wanted = size - start if length is None else length
        if start < 0 or start + wanted > size:
            raise EOFError(f"{key} has {size} bytes, expected {start + wanted}")
        data = bytearray(wanted)
        self.read_into(key, start, memoryview(data))
        return bytes(data)

    def read_into(self, key: str, start: int, out: memoryview) -> None:
        """Read bytes of a file from `start` on into memory of the caller; errors as for `read`."""
        with (self.path / key).open("rb", buffering=0) as opened:
            while len(out):
                count = os.preadv(opened.fileno(), [out], start)
                if count == 0:
                    raise EOFError(f"{key} ends at byte {start}")
                start, out = start + count, out[count:]

    def expect(self, key: str, start: int, length: int) -> None:
        """Announce that bytes of a file will soon be read, so that they can be fetched early."""
        # Errors are reported on reading.
        with (
            contextlib.suppress(AttributeError, OSError),
            (self.path / key).open("rb", buffering=0) as opened,
        ):
            os.posix_fadvise(opened.fileno(), start, length, os.POSIX_FADV_WILLNEED)


class HttpFiles:
    """Access to the files of a store over HTTP by range requests.

    Args:
        url: Address of the store.
        attempts: Number of attempts before a request counts as failed.
        pause: Time before the second attempt (s); it doubles with each further attempt.
        timeout: Time without any data after which a connection counts as dead (s).
    """

    def __init__(
        self, url: str, attempts: int = 6, pause: float = 0.5, timeout: float = 30.0
    ) -> None:
        self.url = url.rstrip("/")
        self.attempts, self.pause, self.timeout = attempts, pause, timeout
        self._pool: urllib3.PoolManager | None = None

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file, see `LocalFiles`.

        Raises:
            FileNotFoundError: There is no such file.
            EOFError: The file is shorter than the range.
            UserError: The file cannot be read at present.
        """
        headers, whole = {}, start == 0 and length is None
        if start < 0:
            headers["Range"] = f"bytes={start}"
        elif not whole:
            headers["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        begun = time.monotonic()
        try:
            answer = self._pools().request("GET", f"{self.url}/{key}", headers=headers)
            reason = f"HTTP {answer.status}" if answer.status in _BUSY else ""
        except urllib3.exceptions.HTTPError as error:
            reason = _reason(error)
        if reason:
            raise UserError(
                f"{self.url}/{key} cannot be read: {reason} in the last of {self.attempts} "
                f"attempts over {time.monotonic() - begun:.0f} s; wait until the server answers "
                f"and run the same command, or copy the store to a disk and set data.store to it"
            )
        self._check(key, answer, whole)
        wanted = -start if start < 0 else length
        if wanted is not None and len(answer.data) != wanted:
            raise EOFError(f"{key}: found {len(answer.data)} bytes of {wanted}")
        return answer.data

    def read_into(self, key: str, start: int, out: memoryview) -> None:
        """Read bytes of a file into memory of the caller, see `LocalFiles`."""
        out[:] = self.read(key, start, len(out))

    def expect(self, key: str, start: int, length: int) -> None:
        """Do nothing, see `LocalFiles`: requests run concurrently anyway."""

    def _check(self, key: str, answer: Any, whole: bool) -> None:
        """Refuse answers that a further attempt would not change.

        Raises:
            FileNotFoundError: The server has no such file.
            EOFError: The file is shorter than the requested range.
            UserError: The server denies access, or does not support ranges.
        """
        if answer.status in (404, 410):
            raise FileNotFoundError(f"{self.url}/{key}")
        if answer.status == 416:
            raise EOFError(f"{self.url}/{key} is shorter than expected")
        if answer.status == 200 and not whole:
            raise UserError(
                f"{self.url}: the server returns only whole files (HTTP 200 for a range), "
                f"expected one that supports range requests; copy the store to a disk and set "
                f"data.store to it"
            )
        if answer.status not in (200, 206):
            raise UserError(
                f"{self.url}/{key} cannot be read: HTTP {answer.status}; check that the address "
                f"is correct and public"
            )

    def _pools(self) -> urllib3.PoolManager:
        if self._pool is None:
            # The error after the last attempt says what its warnings of each attempt would say.
            logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
            retries = _Retry(
                self.attempts - 1,
                status_forcelist=_BUSY,
                backoff_factor=self.pause,
                raise_on_status=False,
            )
            settings = {"retries": retries, "timeout": self.timeout, "maxsize": 16}
            parts = urlsplit(self.url)
            proxy = urllib.request.getproxies().get(parts.scheme)
            if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
                self._pool = urllib3.ProxyManager(proxy, **settings)
            else:
                self._pool = urllib3.PoolManager(**settings)
        return self._pool

    def __getstate__(self) -> dict[str, Any]:
        # Connections belong to the process that opened them.
        return {**self.__dict__, "_pool": None}


# Access to the files of a store by their keys, such as `fields/c/0/0/0/0`.
StoreFiles: TypeAlias = LocalFiles | HttpFiles

# A separate name, so that tests can replace it.
_wait = time.sleep
# Status codes of too many requests and of servers that are temporarily unavailable.
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class _Retry(urllib3.Retry):
    """Attempts with a pause before each further one, which doubles."""

    def sleep(self, response: Any = None) -> None:
        _wait(self.backoff_factor * 2 ** (len(self.history) - 1))


def _reason(error: Exception) -> str:
    """Describe a failure of the connection without the library's nested messages."""
    inner = getattr(error, "reason", None) or error
    words = {
        "ConnectTimeoutError": "timeout while connecting",
        "ReadTimeoutError": "timeout while reading",
        "NewConnectionError": "no connection",
        "NameResolutionError": "the server's name is unknown",
        "ProtocolError": "the connection was lost",
        "IncompleteRead": "the connection was lost",
    }
    return words.get(type(inner).__name__, type(inner).__name__)
