"""Intermediate results of an evaluation, from which a stopped evaluation continues.

Each rank stores its own: number of evaluated batches, sums of the metrics, records of the cases.
The file is written between two batches, about every minute at most and when a signal arrives, and
is removed when the results are complete.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from slams.errors import UserError
from slams.runs.record import ESTIMATOR
from slams.runtime.atomic import replacing
from slams.runtime.files import load_tensors
from slams.runtime.ranks import say
from slams.runtime.signals import Stopped, pending

if TYPE_CHECKING:
    from slams.modules.evaluator import AssimilationEvaluator

__all__ = ["EvaluationProgress"]

# Layout of the results in a file; files of other layouts are not read.
_LAYOUT = 2


class EvaluationProgress(Callback):
    """Callback that stores and restores the progress of an `AssimilationEvaluator`.

    Args:
        directory: Directory of the files of the ranks.
        every_seconds: Seconds between two files.
        now: Function that returns the time (s); tests pass their own.
    """

    def __init__(
        self,
        directory: str | Path,
        every_seconds: float = 60.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = Path(directory)
        self.every_seconds = every_seconds
        self._now = now
        self._mark = now()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the progress of an earlier attempt, if it ran in the same way.

        If the file cannot be read or was written by an earlier version, everything is evaluated
        again.

        Raises:
            UserError: The file is of different methods, or was not written by this class.
        """
        module: AssimilationEvaluator = pl_module  # type: ignore[assignment]
        self._mark = self._now()
        path = self._path(trainer)
        if not path.exists():
            return
        try:
            kept = load_tensors(path)
        except Exception as error:  # a different type for each kind of damage
            say(f"{path} cannot be read ({type(error).__name__}): evaluating from the start")
            return
        try:
            if kept["way"] == self._way(trainer):
                module.restore(kept["state"])
        except Exception as error:
            raise UserError(
                f"{path} does not contain the progress of this evaluation; remove "
                f"{self.directory}, and run the same command again"
            ) from error

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        *_: Any,
    ) -> None:
        """Store the progress when it is due, or when the evaluation must end.

        Raises:
            Stopped: A signal was received.
        """
        module: AssimilationEvaluator = pl_module  # type: ignore[assignment]
        signum = pending()
        if batch_idx + 1 < module.done or not (
            signum or self._now() - self._mark >= self.every_seconds
        ):
            return
        self._mark = self._now()
        path = self._path(trainer)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            torch.save({"way": self._way(trainer), "state": module.progress()}, part)
        if signum:
            reason = f"{signal.Signals(signum).name} after batch {batch_idx + 1}"
            raise Stopped(reason, signum, saved=True)

    def forget(self) -> None:
        """Remove the stored progress, because the results are complete."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, trainer: Trainer) -> Path:
        return self.directory / f"rank-{trainer.global_rank}.pt"

    def _way(self, trainer: Trainer) -> list[int]:
        """Return the numbers that determine the cases of each batch and rank, and their scores."""
        return [_LAYOUT, ESTIMATOR, trainer.world_size, *map(int, trainer.num_test_batches)]
