"""Random numbers of training that are reproducible after an interruption.

Lightning's checkpoints do not contain the state of the random generators. Here every step seeds
torch's generators from (seed, step, rank), so that a resumed run draws the same noise and dropout
masks as an uninterrupted one, and ranks draw different ones.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from slams.runtime.seeds import generator

__all__ = ["StepSeed"]


class StepSeed(Callback):
    """Callback that seeds torch at every batch of training and validation.

    Validation batches get the same numbers in every epoch, so that a noisy validation loss is
    comparable from epoch to epoch.

    Args:
        seed: The experiment's seed.
        stage: Name that distinguishes stages of one experiment, for example `vae`.
    """

    def __init__(self, seed: int, stage: str) -> None:
        self.seed = seed
        self.stage = stage

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Seed by the number of training batches so far."""
        # Batches, not optimiser steps, whose number does not change while gradients accumulate.
        done = trainer.fit_loop.epoch_loop.total_batch_idx
        self._set("train", done, trainer.global_rank)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Seed by the index of the batch in the validation."""
        self._set("validation", batch_idx, trainer.global_rank)

    def _set(self, split: str, index: int, rank: int) -> None:
        torch.manual_seed(generator(self.seed, self.stage, split, index, rank).initial_seed())
