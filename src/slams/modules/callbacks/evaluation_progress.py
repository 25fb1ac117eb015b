"""What an evaluation has got so far, kept so that one that is stopped goes on behind it.

Each rank keeps its own: batches evaluated, sums of the metrics, records of the cases. It is
written between two batches, at most about every minute and when a signal asks for the end, and
removed when the results are there.
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
from slams.runtime.signals import Stopped, noted

if TYPE_CHECKING:
    from slams.modules.evaluator import AssimilationEvaluator

__all__ = ["EvaluationProgress"]


class EvaluationProgress(Callback):
    """Keeps and takes up what an `AssimilationEvaluator` has got.

    Args:
        directory: Where the files of the ranks go.
        every_seconds: Seconds between two of them.
        now: Gives seconds; tests pass their own.
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
        """Take up what an earlier attempt has got, if it ran in the same way.

        What cannot be read, or was written by a version before this one, is evaluated again.

        Raises:
            UserError: It is of other methods, or was not written by this class.
        """
        module: AssimilationEvaluator = pl_module  # type: ignore[assignment]
        self._mark = self._now()
        path = self._path(trainer)
        if not path.exists():
            return
        try:
            kept = load_tensors(path)
        except Exception as error:  # a different type for each kind of damage
            say(f"{path} cannot be read ({type(error).__name__}): evaluated from the start")
            return
        try:
            if kept["way"] == self._way(trainer):
                module.restore(kept["state"])
        except Exception as error:
            raise UserError(
                f"{path} does not hold the progress of this evaluation; remove {self.directory}, "
                f"and give the same command again"
            ) from error

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what there is when it is time, or when the evaluation is to end.

        Raises:
            Stopped: A signal has asked for the end.
        """
        module: AssimilationEvaluator = pl_module  # type: ignore[assignment]
        signum = noted()
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
        """Remove what is kept: the results are there."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, trainer: Trainer) -> Path:
        return self.directory / f"rank-{trainer.global_rank}.pt"

    def _way(self, trainer: Trainer) -> list[int]:
        """Return what decides which cases are in which batch of which rank, and their scores."""
        return [ESTIMATOR, trainer.world_size, *map(int, trainer.num_test_batches)]
