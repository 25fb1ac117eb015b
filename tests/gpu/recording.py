"""What a computation does on the CPU, and what it costs."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Cost", "HeavyOnCpu", "measure"]

# Parts of the names of operations whose cost grows faster than the size of their results, or that
# are most of a network's cost. Draws of random numbers and copies are on the CPU on purpose.
_HEAVY = ("mm", "bmm", "conv", "linalg", "cholesky", "triangular", "attention", "group_norm")
# Values of a result from which on it belongs on the device.
_LARGE = 256


class HeavyOnCpu(TorchDispatchMode):
    """Records heavy operations with large results on the CPU.

    Attributes:
        found: Their names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation, and record it."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if any(part in name for part in _HEAVY):
            tensors = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
            if any(x.device.type == "cpu" and x.numel() >= _LARGE for x in tensors):
                self.found.add(name)
        return result


@dataclass(frozen=True)
class Cost:
    """Seconds of one call, and the most memory (bytes): the device's, or the process's."""

    seconds: float
    memory: int

    def __str__(self) -> str:
        return f"{self.seconds:8.3f} s {self.memory / 1e9:8.2f} GB"


def measure(device: str, work: Callable[[], object], calls: int = 3) -> Cost:
    """Measure the mean of some calls, after one to warm up.

    Args:
        device: `cpu` or `cuda`.
        work: The call.
        calls: How many are measured.
    """
    gpu = device == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    work()
    if gpu:
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(calls):
        work()
    if gpu:
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - started) / calls
    resident = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Cost(seconds, torch.cuda.max_memory_allocated() if gpu else resident)
