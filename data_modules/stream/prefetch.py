"""Reading the next batches in a thread while the present one is worked on.

For loaders without worker processes: what is read stays in this process, nothing is copied
between two. Reading and decoding happen in C code that lets other threads run.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["ReadAhead"]

T = TypeVar("T")

# Seconds after which a thread that waits for room looks whether it is still wanted.
_LOOK_SECONDS = 0.2


class ReadAhead(Generic[T]):
    """Iterates over something in a thread of its own, some items ahead of who asks for them.

    The order is that of the source, and an exception of the source is raised where its item
    would have come. Closing it ends the thread; items that were read ahead are dropped.

    Args:
        source: What is iterated over, by the thread alone from now on.
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
        self._items.put((False, item))  # whoever asks again gets the same end
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
        except BaseException as error:  # raised again where it is noticed
            self._put((False, error))

    def _put(self, item: tuple[bool, T | BaseException | None]) -> bool:
        """Wait for room; tell whether the item is still wanted."""
        while not self._unwanted.is_set():
            try:
                self._items.put(item, timeout=_LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False
