"""Estimate of the host memory that a data stream needs, calculated before anything is read.

For each process (rank), with windows of `T` days, `L` earlier ones, `C` channels on `P` points:

    program   the present size of this process, once more for each worker
    cache     4 N C P for the `N` days of the store (data.cache=memory)
    batches   4 B (T + L) C P for each batch that is being read, queued or processed
    pinned    the size of two batches, where there is a GPU
    archive   windows that a stage keeps all at once: fields, background, and one byte of mask each
    latents   encodings of all windows and of their backgrounds, 8 K h w T for each of them

A memory-mapped cache is not counted: its pages belong to the operating system, which drops them
when it needs the memory.
"""

from __future__ import annotations

import torch

from data_modules.reanalysis import ReanalysisDataModule
from slams.runtime.memory import HostMemory, available_memory, resident_memory

__all__ = ["HostMemory", "host_memory"]

_SMALLER_BATCHES = "set fewer workers (data.num_workers), smaller batches or a smaller data.ahead"
_REMEDIES = {
    "program": "set fewer workers (data.num_workers) or processes (trainer.devices)",
    "archive": "use a machine with more memory: they are windows that are needed at once",
    "cache": "set data.cache=mmap",
    "batches": _SMALLER_BATCHES,
    "pinned": _SMALLER_BATCHES,
    "latents": "set fewer score.lags or a smaller score.shifts, or shorten data.splits.train",
}


def host_memory(
    datamodule: ReanalysisDataModule,
    batch_size: int,
    *,
    ranks: int = 1,
    archive: int = 0,
    background: bool = False,
    latents: int = 0,
    stage: str = "this stage",
) -> HostMemory:
    """Estimate the host memory of training from a DataModule, before it is set up.

    Args:
        datamodule: The DataModule.
        batch_size: Cases per batch.
        ranks: Training processes on this machine.
        archive: Further windows that the stage keeps in memory at once.
        background: Whether those windows come with backgrounds.
        latents: Values of the latents that each process keeps, float32.
        stage: The stage, for messages.
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
        **({"latents": 4 * latents} if latents else {}),
    }
    parts = {name: ranks * size for name, size in parts.items()}
    return HostMemory(parts, available_memory() + resident_memory(), stage, _REMEDIES)
