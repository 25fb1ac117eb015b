"""Two checkpoints: the best validated one, and the last one, from which a killed run resumes.

The last one may be from the middle of an epoch: the position of the data stream is part of a
checkpoint (`data_modules.stream.loader.StreamLoader`), so that a resumed run reads the same
windows as an uninterrupted one.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from slams.errors import UserError
from slams.runtime.atomic import replacing

__all__ = ["BEST", "LAST", "Checkpoints", "can_be_saved"]

BEST = "best.ckpt"
LAST = "last.ckpt"


class Checkpoints(Checkpoint):
    """Callback that writes `best.ckpt` and `last.ckpt` after each validated epoch and at the end.

    `last.ckpt` is also written every `every_steps` steps, and by `rescue`; where that step ends an
    epoch which is not validated, one step later.

    Both are created by renaming a complete file: a run that is killed while writing leaves the
    previous checkpoint in place (Lightning's own callback moves a file from the system's temporary
    directory, which is a copy if that is on another file system).

    Args:
        directory: Directory of the two files.
        monitor: Logged metric that is smallest at the best epoch, for example `validation/loss`.
        every_steps: Optimiser steps between two checkpoints within epochs; 0 for none.
    """

    def __init__(self, directory: str | Path, monitor: str, every_steps: int = 0) -> None:
        self.directory = Path(directory)
        self.monitor = monitor
        self.every_steps = every_steps
        self.best_score = math.inf
        self.best_step = -1
        self._saved_step = -1
        self._validated = False
        self._due = False

    @property
    def best_path(self) -> Path:
        """Return the path of the best validated checkpoint."""
        return self.directory / BEST

    @property
    def last_path(self) -> Path:
        """Return the path of the last checkpoint."""
        return self.directory / LAST

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the validated epoch; check the metric's name in the sanity check."""
        if trainer.sanity_checking:
            self._score(trainer)  # so that a misspelt name fails now, not after the first epoch
        else:
            self._validated = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save every `every_steps` steps; Lightning calls checkpoint callbacks last."""
        step = trainer.global_step
        # The number of steps does not change while gradients are accumulated.
        if not self.every_steps or step <= self._saved_step:
            return
        self._due |= step % self.every_steps == 0
        # Not at the last batch of an epoch: a Trainer that resumes from there would skip the
        # validation. One that resumes from the end of an epoch without validation trains a batch
        # of that epoch again (lightning 2.6.6, `_is_validation_done`): save in the next epoch.
        if self._due and can_be_saved(trainer):
            self.rescue(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after the rows of the epoch are written and its validation is done."""
        if self._validated:
            self._save(trainer, self._score(trainer))
        self._validated = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save steps after the last validated epoch, if there are any.

        In a training too short to be validated the last checkpoint is also the best.
        """
        unvalidated = self.best_step < 0
        if trainer.global_step > self._saved_step or unvalidated:
            self._save(trainer, math.inf if unvalidated else None)

    def rescue(self, trainer: Trainer) -> None:
        """Save the current state of a training, on every rank, without a validation.

        The state is that after a batch that took an optimiser step and was not the last of its
        epoch.
        """
        self._save(trainer, None)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far and its step."""
        return {"best_score": self.best_score, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score of the run that is resumed."""
        self.best_score = float(state_dict["best_score"])
        self.best_step = int(state_dict["best_step"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mark the steps of a resumed run as saved."""
        self._saved_step = trainer.global_step if trainer.ckpt_path else -1

    def _score(self, trainer: Trainer) -> float:
        if self.monitor not in trainer.callback_metrics:
            raise UserError(
                f"checkpoint monitor: found no metric {self.monitor!r}, expected one of the "
                f"logged {', '.join(sorted(trainer.callback_metrics)) or '(none)'}"
            )
        return float(trainer.callback_metrics[self.monitor])

    def _save(self, trainer: Trainer, score: float | None) -> None:
        # The first checkpoint is the best so far, even if its score is NaN.
        best = score is not None and (score < self.best_score or self.best_step < 0)
        if best:
            self.best_score = score if math.isfinite(score) else math.inf
            self.best_step = trainer.global_step
        part = self.directory / f".{LAST}.part"
        try:
            trainer.save_checkpoint(part)  # on every rank, because it ends with a barrier
            self._saved_step = trainer.global_step
            self._due = False
            if trainer.is_global_zero:
                if best:
                    with replacing(self.best_path) as copy:
                        shutil.copyfile(part, copy)
                with replacing(self.last_path) as finished:
                    part.replace(finished)
        except BaseException:  # such as a full disk, which the incomplete file would keep full
            part.unlink(missing_ok=True)
            raise
        trainer.strategy.barrier("checkpoint")


def can_be_saved(trainer: Trainer) -> bool:
    """Return whether the batch took an optimiser step and is not the last one of its epoch."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    stepped = progress.current.ready % trainer.accumulate_grad_batches == 0
    return stepped and not progress.is_last_batch
