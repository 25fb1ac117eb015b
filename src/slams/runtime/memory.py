"""Memory of this process and of the machine, and what a stage will hold of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slams.errors import UserError

__all__ = [
    "HostMemory",
    "available_memory",
    "group_memory",
    "resident_memory",
    "return_freed_memory",
]


def resident_memory() -> int:
    """Return the present resident memory of this process (bytes)."""
    import psutil

    return psutil.Process().memory_info().rss


def return_freed_memory() -> None:
    """Return memory that was freed to the system; its allocator keeps it otherwise.

    On Linux with the GNU C library; elsewhere nothing is done.
    """
    import ctypes
    import gc

    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def available_memory() -> int:
    """Return the memory that this process can still take without swapping (bytes).

    It is that of the machine, or less where `ulimit -v` or a control group (a container, a job of
    a cluster) leaves less.
    """
    import psutil

    left = [psutil.virtual_memory().available]
    if sys.platform == "linux":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            left.append(limit - psutil.Process().memory_info().vms)
        left += group_memory(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return max(0, min(left))


def group_memory(root: Path, membership: Path) -> list[int]:
    """Return what each limit on the control groups of this process leaves (bytes).

    Args:
        root: Where control groups are mounted, of version 2 or of version 1.
        membership: File that lists the groups of this process.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "memory"
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        own = base / path.lstrip("/")
        for group in (own, *own.parents):  # a group above may leave less
            left += _left(group, *names)
            if group == base:
                break
    return left


def _left(group: Path, limit: str, usage: str, cached: str) -> list[int]:
    """Return what the limit of one group leaves; its cache of files can be dropped."""
    try:
        most = int((group / limit).read_text())
        used = int((group / usage).read_text())
        rows = (row.split() for row in (group / "memory.stat").read_text().splitlines())
        droppable = sum(int(size) for name, size in rows if name == cached)
    except (OSError, ValueError):  # no limit reads "max"
        return []
    return [most - used + droppable]


@dataclass(frozen=True)
class HostMemory:
    """What the processes of a stage will hold on one machine.

    Attributes:
        parts: Bytes by part.
        available: What these processes can have on the machine, with what they have already
            (bytes).
        stage: The stage, for messages.
        remedies: What to do about a part that is too large, in the words of a recipe.
    """

    parts: Mapping[str, int]
    available: int
    stage: str = "this stage"
    remedies: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Return the sum (bytes)."""
        return sum(self.parts.values())

    @property
    def remedy(self) -> str:
        """Return what to do about the largest part for which anything can be done."""
        known = {name: size for name, size in self.parts.items() if name in self.remedies}
        if not known:
            return "use a machine with more memory"
        largest = max(known, key=lambda name: known[name])
        return f"{largest} takes {known[largest] / 1e9:.2f} GB: {self.remedies[largest]}"

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in self.parts.items() if size)
        text = (
            f"host memory: about {self.total / 1e9:.2f} GB ({parts}) of "
            f"{self.available / 1e9:.2f} GB available"
        )
        return text if self.total <= self.available else f"{text}; too much: {self.remedy}"

    def check(self) -> None:
        """Refuse a stage for which the machine has too little memory.

        Raises:
            UserError: One sentence: the largest part, and the key that lowers it.
        """
        if self.total > self.available:
            raise UserError(
                f"{self.stage} needs about {self.total / 1e9:.2f} GB of memory and "
                f"{self.available / 1e9:.2f} GB are available; {self.remedy}"
            )
