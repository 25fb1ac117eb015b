"""Which of several processes this one is, known before torch is imported.

Launchers tell by the environment: torchrun sets `RANK`, SLURM `SLURM_PROCID`, Lightning starts
the same command again with `LOCAL_RANK` (and `NODE_RANK` on several nodes).
"""

from __future__ import annotations

import os

__all__ = ["is_rank_zero", "say"]


def is_rank_zero() -> bool:
    """Tells whether this process is the one that writes and speaks."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    # Lightning's children inherit the SLURM variables of their parent: every one must be 0.
    names = ("SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def say(text: str) -> None:
    """Prints a line at once, on rank zero alone."""
    if is_rank_zero():
        print(text, flush=True)
