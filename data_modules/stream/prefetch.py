"""Reading the next batches in a thread while the present one is processed.

For loaders without worker processes: batches stay in this process, and are not copied between
processes. Reading and decoding are done in C code that releases the GIL.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["ReadAhead"]

T = TypeVar("T")

# Interval at which a thread that waits for room checks whether it was closed (s).
_CHECK_SECONDS = 0.2


class ReadAhead(Generic[T]):
    """Iterator that reads some items ahead in a thread.

    The order is that of the source, and an exception of the source is raised in the place of its
    item. Closing ends the thread; items that were read ahead are dropped.

    Args:
        source: Iterator that from now on only the thread may use.
        depth: Items read ahead, at least 1.
    """

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self._items: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(depth)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(source,), name="slams-read-ahead", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        more, item = self._items.get()
        if more:
            return item  # type: ignore[return-value]
        self._items.put((False, item))  # further calls end in the same way
        raise StopIteration if item is None else item  # type: ignore[misc]

    def close(self) -> None:
        """End the thread."""
        self._unwanted.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _read(self, source: Iterator[T]) -> None:
        try:
            for item in source:
                if not self._put((True, item)):
                    return
            self._put((False, None))
        except BaseException as error:  # raised again by `__next__`
            self._put((False, error))

    def _put(self, item: tuple[bool, T | BaseException | None]) -> bool:
        """Wait for room and add the item; return False if the iterator was closed."""
        while not self._unwanted.is_set():
            try:
                self._items.put(item, timeout=_CHECK_SECONDS)
                return True
            except queue.Full:
                continue
        return False
