"""Progress for people: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from lightning.pytorch import Callback, LightningModule, Trainer

from slams.modules.callbacks.clock import StageClock, batch_length

__all__ = ["ProgressLines"]


class ProgressLines(Callback):
    """Reports stage, step, loss, samples a second, time left, and the share of waiting for data.

    Only rank zero reports. On a terminal it draws one rich bar; elsewhere (a batch log, a pipe)
    it prints a line at most every `every_seconds`, and one at the end.

    Args:
        every_seconds: Seconds between two lines.
        stream: Where to report; `None` is standard error.
        now: Gives seconds; tests pass their own.
    """

    def __init__(
        self,
        every_seconds: float = 10.0,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.every_seconds = every_seconds
        self._stream = stream
        self._now = now
        self._clock = StageClock(now)
        self._printed = now()
        self._first = 0
        self._bar: Any = None

    # Training.

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, first=trainer.fit_loop.epoch_loop.total_batch_idx + 1)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock.resume()

    def on_train_batch_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self._clock.batch_start()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._clock.batch_end(batch_length(batch) * trainer.world_size)
        if trainer.is_global_zero:
            loss = trainer.callback_metrics.get("train/loss")
            total = _training_batches(trainer)
            self._report("train", total, "" if loss is None else f"loss {float(loss):.4g}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock.resume()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer, "train", _training_batches(trainer))

    # Evaluation.

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, first=0)

    def on_test_batch_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self._clock.batch_start()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._clock.batch_end(batch_length(batch))
        if trainer.is_global_zero:
            self._report("test", _test_batches(trainer), "")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer, "test", _test_batches(trainer))

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._close_bar()

    # Reporting.

    def _begin(self, trainer: Trainer, first: int) -> None:
        self._clock = StageClock(self._now)
        self._printed = self._now()
        self._first = first
        stream = self._stream or sys.stderr
        if trainer.is_global_zero and stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
                console=Console(file=stream),
            )
            self._bar.start()
            self._bar.add_task("", total=None, text="")

    def _report(self, stage: str, total: int | None, loss: str) -> None:
        if self._bar is not None:
            task = self._bar.tasks[0]
            done = self._first + self._clock.batches
            text = self._text(total, loss)
            self._bar.update(task.id, description=stage, completed=done, total=total, text=text)
        elif self._now() - self._printed >= self.every_seconds:
            self._line(f"{stage} {self._text(total, loss)}")

    def _end(self, trainer: Trainer, stage: str, total: int | None) -> None:
        had_bar = self._bar is not None
        self._close_bar()
        if trainer.is_global_zero and not had_bar and self._clock.batches:
            self._line(f"{stage} {self._text(total, '')}")

    def _text(self, total: int | None, loss: str) -> str:
        clock = self._clock
        done = self._first + clock.batches
        parts = [f"step {done}/{total}" if total else f"step {done}"]
        if loss:
            parts.append(loss)
        parts.append(f"{clock.samples_per_second:.1f} samples/s")
        if total and clock.batches:
            left = (total - done) * clock.seconds / clock.batches
            parts.append(f"{_duration(left)} left")
        parts.append(f"{100 * clock.wait_share:.0f} % waiting for data")
        return ", ".join(parts)

    def _line(self, text: str) -> None:
        self._printed = self._now()
        print(text, file=self._stream or sys.stderr, flush=True)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _training_batches(trainer: Trainer) -> int | None:
    """Counts the batches of the whole training, from the limit that ends it first."""
    limits = []
    if trainer.max_steps is not None and trainer.max_steps >= 0:
        limits.append(trainer.max_steps * trainer.accumulate_grad_batches)
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(trainer.max_epochs * trainer.num_training_batches)
    total = min(limits, default=float("inf"))
    return int(total) if total != float("inf") else None


def _test_batches(trainer: Trainer) -> int | None:
    total = sum(trainer.num_test_batches)
    return int(total) if total != float("inf") else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
