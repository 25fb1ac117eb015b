"""The system's page cache: evict files from it, and measure how much of them is in it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

__all__ = ["evict", "resident_share"]


def evict(files: Iterable[Path]) -> None:
    """Ask the system to drop files (`posix_fadvise`, DONTNEED); it may ignore the request."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def resident_share(files: Iterable[Path]) -> float | None:
    """Return the share of the pages of files that is in the page cache (`mincore`), in [0, 1].

    Returns:
        `None` where the system does not report it.
    """
    mincore = getattr(ctypes.CDLL(None, use_errno=True), "mincore", None)
    if mincore is None:
        return None
    page = os.sysconf("SC_PAGE_SIZE")
    there, pages = 0, 0
    for path in files:
        if path.stat().st_size == 0:
            continue
        # Mapping a file does not load it into memory.
        mapped = np.memmap(path, np.uint8, mode="r")
        found = np.zeros(-(-mapped.size // page), np.uint8)
        address, size = ctypes.c_void_p(mapped.ctypes.data), ctypes.c_size_t(mapped.size)
        if mincore(address, size, ctypes.c_void_p(found.ctypes.data)) != 0:
            return None
        there += int((found & 1).sum())
        pages += len(found)
    return there / pages if pages else 0.0
