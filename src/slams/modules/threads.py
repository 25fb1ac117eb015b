"""Number of threads of a process on the CPU.

Threads of one process wait for each other at every operation. The operations of small networks
are short, so that one other process that holds one core makes all threads wait for it: the demo's
VAE trains at a third of its speed (`slams bench train experiments/benchmarks/threads.yaml`).
Leaving one core free costs less.
"""

from __future__ import annotations

import os

import torch

from slams.config.schema import TrainerConfig

__all__ = ["choose_threads", "set_threads"]


def set_threads(config: TrainerConfig, accelerator: str) -> str:
    """Set torch's threads for a stage.

    On a GPU torch's own number stays, unless the recipe sets one. `OMP_NUM_THREADS` limits what
    is chosen.

    Args:
        config: The recipe's `trainer`.
        accelerator: `cpu` or another one.

    Returns:
        What was chosen, for a reader; empty where nothing was.
    """
    if config.threads > 0:
        torch.set_num_threads(config.threads)
        return ""
    if accelerator != "cpu":
        return ""
    cores = _cores()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    chosen = choose_threads(cores, config.devices, int(limit) if limit.isdecimal() else cores)
    torch.set_num_threads(chosen)
    threads = "1 thread" if chosen == 1 else f"{chosen} threads"
    process = " per process" if config.devices > 1 else ""
    cpus = "1 core" if cores == 1 else f"{cores} cores"
    return f"{threads}{process} on {cpus} (trainer.threads sets another number)"


def choose_threads(cores: int, ranks: int, limit: int) -> int:
    """Return the threads of each process: one core stays free for loading and other programs.

    Args:
        cores: Cores that this process may use.
        ranks: Processes that share them.
        limit: Most threads that the environment allows.
    """
    return max(1, min((cores - 1) // ranks, limit))


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
