"""Memory of this process and of the machine."""

from __future__ import annotations

__all__ = ["available_memory", "resident_memory"]


def resident_memory() -> int:
    """Return the present resident memory of this process (bytes)."""
    import psutil

    return psutil.Process().memory_info().rss


def available_memory() -> int:
    """Return the memory that is available without swapping (bytes)."""
    import psutil

    return psutil.virtual_memory().available
