"""What a stage's time went into: batches, samples, and waiting for data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["StageClock", "batch_length"]


class StageClock:
    """Splits the time of a loop over batches into waiting for data and work.

    Waiting is what passes between the end of a batch and the start of the next: reading,
    collating and moving to the device. Pauses (validation, checkpoints between epochs) count
    as neither.

    Args:
        now: Gives seconds; tests pass their own.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._mark = now()
        self._waiting = True
        self.batches = 0
        self.samples = 0
        self.wait_seconds = 0.0
        self.work_seconds = 0.0

    def resume(self) -> None:
        """Starts to wait for the next batch; what passed since the last batch is a pause."""
        self._mark = self._now()
        self._waiting = True

    def batch_start(self) -> None:
        """Notes that a batch has arrived."""
        if self._waiting:
            self.wait_seconds += self._now() - self._mark
        self._mark = self._now()
        self._waiting = False

    def batch_end(self, samples: int) -> None:
        """Notes that a batch of that many samples is done, and waits for the next."""
        self.work_seconds += self._now() - self._mark
        self.batches += 1
        self.samples += samples
        self.resume()

    @property
    def seconds(self) -> float:
        """Gives seconds spent on batches and on waiting for them."""
        return self.wait_seconds + self.work_seconds

    @property
    def samples_per_second(self) -> float:
        """Gives samples a second, waiting included."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0

    @property
    def wait_share(self) -> float:
        """Gives the share of the time that was spent waiting for data, in [0, 1]."""
        return self.wait_seconds / self.seconds if self.seconds > 0 else 0.0


def batch_length(batch: Any) -> int:
    """Counts the samples of a batch: its length, or that of its first tensor."""
    if isinstance(batch, Tensor):
        return batch.shape[0]
    if isinstance(batch, dict):
        batch = tuple(batch.values())
    if isinstance(batch, tuple | list):
        return batch_length(batch[0]) if batch else 0
    case = getattr(batch, "case", None)
    return case.shape[0] if isinstance(case, Tensor) else 1
