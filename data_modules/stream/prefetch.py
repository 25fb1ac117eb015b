"""Reading the next batches in a thread while the present one is processed.

For loaders without worker processes: batches stay in this process, and are not copied between
processes. Reading and decoding are done in C code that releases the GIL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["prefetched"]

T = TypeVar("T")

_END: Any = object()


def prefetched(source: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Read some items ahead in a thread.

    The order is that of the source, and an exception of the source is raised in the place of its
    item. Closing ends the thread; items that were read ahead are dropped.

    Args:
        source: Iterator that from now on only the thread may use.
        depth: Items read ahead, at least 1.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="slams-read-ahead")
    try:
        ahead = deque(pool.submit(next, source, _END) for _ in range(depth))
        while (item := ahead.popleft().result()) is not _END:
            ahead.append(pool.submit(next, source, _END))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
