"""End of a training on a signal or at a time limit, with a checkpoint from which it can resume.

With several ranks a signal reaches them at different times, and perhaps not all of them: they
agree on the largest of their flags, by a small reduction about every second. The signal handler
only sets the flag (`slams.runtime.signals`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from slams.modules.callbacks.checkpoints import Checkpoints, can_be_saved
from slams.runtime.signals import Stopped, pending, seconds_running

__all__ = ["StopOnSignal"]

# Seconds between two checks with several ranks, each of which costs a reduction.
_LOOK_SECONDS = 1.0
# Flag of the recipe's time limit; flags of signals are their numbers, which are all larger.
_TIME_IS_UP = 0.5


class StopOnSignal(Callback):
    """Callback that ends a training with a checkpoint on SIGUSR1, SIGTERM or at a time limit.

    It ends after a batch that took an optimiser step, because a checkpoint does not contain
    partially accumulated gradients, and not at the last batch of an epoch, whose validation and
    checkpoint come first.

    Args:
        checkpoints: Callback that saves the checkpoint.
        max_seconds: Time limit (s), counted from the start of the program; infinite for none.
        running: Function that returns the time (s) since the start of the program; tests pass
            their own.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        max_seconds: float = float("inf"),
        running: Callable[[], float] = seconds_running,
    ) -> None:
        self.checkpoints = checkpoints
        self.max_seconds = max_seconds
        self._running = running
        self._every, self._batches = 1, 0
        self._mark = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Check whether to end the training.

        Raises:
            Stopped: The training must end; its checkpoint is saved.
        """
        self._batches += 1
        if self._batches < self._every or not can_be_saved(trainer):
            return
        flag = self._agree(trainer)
        if flag:
            self.checkpoints.rescue(trainer)
            signum = int(flag)
            reason = signal.Signals(signum).name if signum else "trainer.max_time"
            raise Stopped(f"{reason} after step {trainer.global_step}", signum, saved=True)

    def _agree(self, trainer: Trainer) -> float:
        """Return the largest flag of all ranks."""
        flag = float(pending()) or (_TIME_IS_UP if self._running() > self.max_seconds else 0.0)
        if trainer.world_size == 1:
            return flag
        seconds = (time.monotonic() - self._mark) / self._batches
        mine = torch.tensor([flag, seconds], device=trainer.strategy.root_device)
        flag, seconds = trainer.strategy.reduce(mine, reduce_op="max").tolist()
        # All ranks must check after the same batch: the slowest rank determines the interval.
        self._every = max(1, int(_LOOK_SECONDS / max(seconds, 1e-6)))
        self._batches, self._mark = 0, time.monotonic()
        return flag
