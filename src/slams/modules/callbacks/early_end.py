"""A training that is told to stop, or whose time is up, saves and ends; the next one continues.

Under several ranks a signal reaches them at different moments, if it reaches all: they agree on
the larger of their flags, one small reduction about every second. The handler of the signal sets
the flag and does nothing else (`slams.runtime.signals`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from slams.modules.callbacks.checkpoints import Checkpoints
from slams.runtime.signals import Stopped, noted, seconds_running

__all__ = ["EarlyEnd"]

# Seconds between two looks, where looking costs a reduction over ranks.
_LOOK_SECONDS = 1.0
# Flag of the recipe's time limit, beside the numbers of signals; any signal is larger.
_TIME_IS_UP = 0.5


class EarlyEnd(Callback):
    """Ends a training with a checkpoint on SIGUSR1, SIGTERM or at a time limit.

    It ends after a batch that took an optimiser step, since gradients half accumulated are in no
    checkpoint, and not at the last batch of an epoch, whose validation and checkpoint come first.

    Args:
        checkpoints: Saves the checkpoint.
        max_seconds: Time limit (s), counted from the start of the program; infinite for none.
        running: Gives the seconds since the start of the program; tests pass their own.
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

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Look for a reason to end, and end.

        Raises:
            Stopped: The training is to end; its checkpoint is saved.
        """
        self._batches += 1
        loop = trainer.fit_loop.epoch_loop
        stepped = loop.batch_progress.current.ready % trainer.accumulate_grad_batches == 0
        if self._batches < self._every or not stepped or loop.batch_progress.is_last_batch:
            return
        flag = self._agree(trainer)
        if flag:
            self.checkpoints.rescue(trainer)
            signum = int(flag)
            reason = signal.Signals(signum).name if signum else "trainer.max_time"
            raise Stopped(f"{reason} after step {trainer.global_step}", signum, saved=True)

    def _agree(self, trainer: Trainer) -> float:
        """Return the largest flag of all ranks."""
        flag = float(noted()) or (_TIME_IS_UP if self._running() > self.max_seconds else 0.0)
        if trainer.world_size == 1:
            return flag
        seconds = (time.monotonic() - self._mark) / self._batches
        mine = torch.tensor([flag, seconds], device=trainer.strategy.root_device)
        flag, seconds = trainer.strategy.reduce(mine, reduce_op="max").tolist()
        # All ranks must look after the same batch: the slowest says how often that is.
        self._every = max(1, int(_LOOK_SECONDS / max(seconds, 1e-6)))
        self._batches, self._mark = 0, time.monotonic()
        return flag
