"""Progress reports: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from lightning.pytorch import LightningModule, Trainer

from slams.modules.callbacks.throughput import TimedCallback

__all__ = ["ProgressLines"]


class ProgressLines(TimedCallback):
    """Callback that reports stage, step, loss, samples per second, time left and waiting for data.

    Only rank zero reports. On a terminal it draws one rich bar; elsewhere (a batch log, a pipe)
    it prints a line at most every `every_seconds`, and one at the end. An evaluation is also
    reported within its batches, each of which may take minutes: seconds per case, and the method
    that is running (`at_work` of the module).

    Args:
        every_seconds: Seconds between two lines.
        stream: Stream to write to; `None` for standard error.
        now: Function that returns the time (s); tests pass their own.
    """

    def __init__(
        self,
        every_seconds: float = 10.0,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(now)
        self.every_seconds = every_seconds
        self._stream = stream
        self._reported = now()
        self._first = 0
        self._bar: Any = None
        self._ended = threading.Event()

    def begin(self, trainer: Trainer, stage: str) -> None:
        """Open the bar if there is a terminal."""
        self._reported = self._now()
        # A resumed training continues the count of its checkpoint.
        resumed = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        self._first = resumed if stage == "train" else 0
        stream = self._stream or sys.stderr
        if trainer.is_global_zero and stream.isatty():
            self._bar = _bar(stream)
        if trainer.is_global_zero and stage == "test":
            self._ended = threading.Event()
            beat = threading.Thread(target=self._beat, args=(trainer, self._ended), daemon=True)
            beat.start()

    def progress(self, trainer: Trainer, stage: str) -> None:
        """Update the bar, or print a line if the last one is old enough."""
        if not trainer.is_global_zero:
            return
        # Read the loss only when it is shown, because reading waits for the GPU.
        every = self.every_seconds if self._bar is None else 0.2
        if self._now() - self._reported < every:
            return
        self._reported = self._now()
        total, text = self._text(trainer, stage)
        if self._bar is None:
            self._print(f"{stage} {text}")
        else:
            done = self._first + self.timer.batches
            task = self._bar.task_ids[0]
            self._bar.update(task, description=stage, completed=done, total=total, text=text)

    def finish(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print the last line."""
        self._close()
        if trainer.is_global_zero and self.timer.batches:
            self._print(f"{stage} {self._text(trainer, stage)[1]}")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Restore the terminal before the error is printed."""
        self._close()

    def _text(self, trainer: Trainer, stage: str) -> tuple[int | None, str]:
        total = _batches(trainer, stage)
        done = self._first + self.timer.batches
        parts = [f"step {done}/{total}" if total else f"step {done}"]
        loss = trainer.callback_metrics.get("train/loss") if stage == "train" else None
        if loss is not None:
            parts.append(f"loss {float(loss):.4g}")
        at_work = getattr(trainer.lightning_module, "at_work", "")
        parts += [f"running {at_work}"] if at_work else []
        if stage == "train" or self.timer.samples:
            parts.append(self.timer.speed(stage))
        if total and self.timer.batches:
            left = (total - done) * self.timer.seconds / self.timer.batches
            parts.append(f"{_duration(left)} left")
        parts.append(f"{100 * self.timer.wait_share:.0f} % waiting for data")
        return total, ", ".join(parts)

    def _beat(self, trainer: Trainer, ended: threading.Event) -> None:
        """Report within batches, in a separate thread, until the stage ends."""
        while not ended.wait(min(1.0, max(self.every_seconds, 0.05))):
            self.progress(trainer, "test")

    def _print(self, text: str) -> None:
        print(text, file=self._stream or sys.stderr, flush=True)

    def _close(self) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(file=stream),
        transient=True,  # the last line replaces it
    )
    bar.start()
    bar.add_task("", total=None, text="")
    return bar


def _batches(trainer: Trainer, stage: str) -> int | None:
    """Return the number of batches of the whole stage, from the limit that ends it first."""
    if stage == "test":
        limits = [sum(trainer.num_test_batches)]
    else:
        limits = []
        if trainer.max_steps >= 0:
            limits.append(_batches_of(trainer.max_steps, trainer))
        if (trainer.max_epochs or 0) > 0:
            limits.append(trainer.max_epochs * trainer.num_training_batches)
    total = min(limits, default=float("inf"))
    return int(total) if total != float("inf") else None


def _batches_of(steps: int, trainer: Trainer) -> float:
    """Return the number of batches of some steps; the last step of an epoch may have fewer."""
    accumulate, epoch = trainer.accumulate_grad_batches, trainer.num_training_batches
    if epoch == float("inf"):
        return steps * accumulate
    epochs, rest = divmod(steps, -(-epoch // accumulate))
    return epochs * epoch + min(rest * accumulate, epoch)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
