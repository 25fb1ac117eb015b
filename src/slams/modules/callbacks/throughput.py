"""Timing of a stage: batches, samples, and waiting for data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

__all__ = ["ThroughputTimer", "TimedCallback", "batch_length"]


class ThroughputTimer:
    """Division of the time of a loop over batches into waiting for data and work.

    Waiting is the time from the end of a batch to the arrival of the next on its device: reading,
    collating and transfer. The processing by the DataModule after that (`arrived_at`) is work.
    Pauses (validation, the time between epochs) count as neither.

    Args:
        now: Function that returns the time (s); tests pass their own.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._mark = now()
        self.batches = 0
        self.samples = 0
        self.wait_seconds = 0.0
        self.work_seconds = 0.0

    def resume(self) -> None:
        """Start to wait for the next batch; the time since the last batch is a pause."""
        self._mark = self._now()

    def batch_start(self, arrived: float | None = None) -> None:
        """Record the arrival of a batch: now, or at a time since the end of the last one."""
        now = self._now()
        if arrived is None or not self._mark <= arrived <= now:
            arrived = now
        self.wait_seconds += arrived - self._mark
        self._mark = arrived

    def batch_end(self, samples: int) -> None:
        """Record the end of a batch of `samples` samples, and wait for the next."""
        self.work_seconds += self._now() - self._mark
        self.batches += 1
        self.samples += samples
        self._mark = self._now()

    @property
    def seconds(self) -> float:
        """Return seconds spent on batches and on waiting for them."""
        return self.wait_seconds + self.work_seconds

    @property
    def samples_per_second(self) -> float:
        """Return samples per second, waiting included."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_per_sample(self) -> float:
        """Return seconds per sample, waiting included."""
        return self.seconds / self.samples if self.samples else 0.0

    @property
    def wait_share(self) -> float:
        """Return the fraction of the time that was spent waiting for data, in [0, 1]."""
        return self.wait_seconds / self.seconds if self.seconds > 0 else 0.0


class TimedCallback(Callback):
    """Base class of callbacks with a `ThroughputTimer` for training and testing.

    Args:
        now: Function that returns the time (s); tests pass their own.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.timer = ThroughputTimer(now)

    def begin(self, trainer: Trainer, stage: str) -> None:
        """Handle the start of the stage, `train` or `test`."""

    def progress(self, trainer: Trainer, stage: str) -> None:
        """Handle the end of a batch."""

    def finish(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Handle the end of the stage without an exception."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the timer."""
        self._start(trainer, "train")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the epoch's first batch."""
        self.timer.resume()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Record the arrival of a batch."""
        self.timer.batch_start(getattr(trainer.datamodule, "arrived_at", None))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the samples of all ranks (training shards are of equal length)."""
        self.timer.batch_end(batch_length(batch) * trainer.world_size)
        self.progress(trainer, "train")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exclude the validation from the waiting time."""
        self.timer.resume()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the training."""
        self.finish(trainer, pl_module, "train")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the timer."""
        self._start(trainer, "test")

    def on_test_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Record the arrival of a batch."""
        self.timer.batch_start(getattr(trainer.datamodule, "arrived_at", None))

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the samples as if every rank had as many (they differ by one at most)."""
        self.timer.batch_end(batch_length(batch) * trainer.world_size)
        self.progress(trainer, "test")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the test."""
        self.finish(trainer, pl_module, "test")

    def _start(self, trainer: Trainer, stage: str) -> None:
        self.timer = ThroughputTimer(self._now)
        self.begin(trainer, stage)


def batch_length(batch: Any) -> int:
    """Count the samples of a batch: its cases, or the length of its first tensor."""
    if isinstance(batch, Tensor):
        return batch.shape[0]
    if isinstance(batch, dict):
        batch = tuple(batch.values())
    if isinstance(batch, tuple | list):
        return batch_length(batch[0]) if batch else 0
    case = getattr(batch, "case", None)
    if isinstance(case, Tensor):
        return case.shape[0]
    return len(batch) if hasattr(batch, "__len__") else 1
