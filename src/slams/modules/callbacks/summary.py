"""Cost of a run: parameters, throughput, peak memory and the fraction of waiting for data."""

from __future__ import annotations

import resource
import sys

import torch
from lightning.pytorch import LightningModule, Trainer

from slams.modules.callbacks.throughput import TimedCallback

__all__ = ["RunSummary", "peak_memory_gib"]


class RunSummary(TimedCallback):
    """Callback that measures a run, prints one line at its end and stores it in `summary`.

    Attributes:
        summary: After the run: `parameters` (trainable) and `samples_per_second` (all ranks) of
            a training, `cases` and `seconds_per_case` of an evaluation; `seconds`,
            `data_wait_share` in [0, 1], `peak_memory_gib` (of rank zero: the process's resident
            memory on the CPU, the allocator's peak on a GPU).
    """

    def __init__(self) -> None:
        super().__init__()
        self.summary: dict[str, float] = {}

    def finish(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Store and print the measurements."""
        timer = self.timer
        if stage == "train":
            parameters = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
            own = {"parameters": parameters, "samples_per_second": timer.samples_per_second}
            text = f"{parameters:,} parameters"
        else:
            own = {"cases": timer.samples, "seconds_per_case": timer.seconds_per_sample}
            text = f"{timer.samples} cases"
        self.summary = {
            **own,
            "seconds": timer.seconds,
            "data_wait_share": timer.wait_share,
            "peak_memory_gib": peak_memory_gib(),
        }
        if trainer.is_global_zero:
            print(
                f"{stage}: {text}, {timer.speed(stage)}, {timer.seconds:.0f} s, "
                f"{100 * timer.wait_share:.0f} % waiting for data, "
                f"peak memory {self.summary['peak_memory_gib']:.2f} GiB",
                file=sys.stderr,
                flush=True,
            )


def peak_memory_gib() -> float:
    """Return the peak memory of this process (GiB), that of the GPU if one is in use."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
