"""Estimate of the host memory that a data stream needs, calculated before anything is read.

For each process (rank), with windows of `T` days, `L` earlier ones, `C` channels on `P` points:

    program   the present size of this process, once more for each worker
    cache     4 N C P for the `N` days of the store (data.cache=memory)
    batches   4 B (T + L) C P for each batch that is being read, queued or processed
    pinned    the size of two batches, where there is a GPU
    archive   windows that a stage keeps all at once: fields, background, and one byte of mask each

A memory-mapped cache is not counted: its pages belong to the operating system, which drops them
when it needs the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from data_modules.reanalysis import ReanalysisDataModule
from slams.runtime.memory import available_memory, resident_memory

__all__ = ["HostMemory", "host_memory"]


@dataclass(frozen=True)
class HostMemory:
    """Estimate for all processes on a machine.

    Attributes:
        parts: Bytes by part.
        available: Bytes that are available on the machine now.
    """

    parts: Mapping[str, int]
    available: int

    @property
    def total(self) -> int:
        """Return the sum (bytes)."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in self.parts.items() if size)
        text = (
            f"host memory: about {self.total / 1e9:.2f} GB ({parts}) of "
            f"{self.available / 1e9:.2f} GB available"
        )
        if self.total > self.available:
            text += "; too much: set data.cache=mmap, or fewer workers or smaller batches"
        return text


def host_memory(
    datamodule: ReanalysisDataModule,
    batch_size: int,
    *,
    ranks: int = 1,
    archive: int = 0,
    background: bool = False,
) -> HostMemory:
    """Estimate the host memory of training from a DataModule, before it is set up.

    Args:
        datamodule: The DataModule.
        batch_size: Cases per batch.
        ranks: Training processes on this machine.
        archive: Further windows that the stage keeps in memory at once.
        background: Whether those windows come with backgrounds.
    """
    data, store = datamodule.data, datamodule.store
    day = 4 * len(store.channels) * store.grid.shape[0] * store.grid.shape[1]
    batch = batch_size * day * (data.window + datamodule.earlier_days)
    if data.num_workers:
        # Batches read ahead by the workers, and the one being processed.
        batches = data.num_workers * max(data.ahead, 1) + 1
    else:
        # One batch is being filled, some are queued, one is being processed.
        batches = data.ahead + 2 if data.ahead else 1
    held = data.cache == "memory" and data.num_workers == 0
    window = data.window * day
    parts = {
        "program": resident_memory() * (1 + data.num_workers),
        "cache": len(store.time) * day if held else 0,
        "batches": batch * batches,
        "pinned": 2 * batch if torch.cuda.is_available() else 0,
        "archive": archive * (window + window // 4) * (2 if background else 1),
    }
    return HostMemory({name: ranks * size for name, size in parts.items()}, available_memory())
