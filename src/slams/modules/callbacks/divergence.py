"""A training whose loss is no number any more ends at once, and says so."""

from __future__ import annotations

import math

from lightning.pytorch import Callback, LightningModule, Trainer

from slams.errors import UserError

__all__ = ["RefuseDivergence"]


class RefuseDivergence(Callback):
    """Ends a training when a validation finds a loss that is not finite.

    Weights that are not finite never become so again: what would follow is lost time, and a
    finished run without a model in it. The checkpoints from before stay as they are.

    Args:
        monitor: Logged metric that is watched, for example `validation/loss`.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the metric, the trial validation before the first step included.

        Raises:
            UserError: It is not finite.
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
