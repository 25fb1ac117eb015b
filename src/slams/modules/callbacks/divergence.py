"""Immediate end of a training whose loss is not finite, with an error message."""

from __future__ import annotations

import math

from lightning.pytorch import Callback, LightningModule, Trainer

from slams.errors import UserError

__all__ = ["TerminateOnNaN"]


class TerminateOnNaN(Callback):
    """Callback that ends a training when its validation loss is not finite.

    Weights that are not finite do not recover: to continue would waste time and end with a
    finished run without a usable model. Earlier checkpoints are kept.

    Args:
        monitor: Logged metric to check, for example `validation/loss`.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the metric, also in the sanity check before the first step.

        Raises:
            UserError: The metric is not finite.
        """
        value = trainer.callback_metrics.get(self.monitor)
        if value is None or math.isfinite(float(value)):
            return
        stage = getattr(pl_module, "stage", "")
        raise UserError(
            f"the training of the {stage} diverged: {self.monitor} is {float(value):g} after step "
            f"{trainer.global_step}; start over with resume=overwrite and a lower "
            f"{stage}.optimizer.learning_rate"
        )
