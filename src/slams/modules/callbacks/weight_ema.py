"""Exponential moving average (EMA) of the weights, with unambiguous checkpoints.

After optimiser step `n` (counted from 1), with decay `d`,

    d_n   = min(d, (1 + n) / (10 + n))
    ema_n = d_n ema_{n-1} + (1 - d_n) theta_n,      ema_0 = theta_0

The warm-up of `d_n` removes the random initial weights from the average of short trainings.
Validation uses the EMA.

A checkpoint identifies its weights, and loading it in the usual way gives the right ones:

* `state_dict`: the EMA weights, for evaluation;
* `training_state_dict`: the weights of the optimiser, only for resuming;
* `weight_ema`: decay, number of updates, and `"state_dict": "ema"` as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from slams.errors import UserError

__all__ = ["WeightEMA", "ema_weights"]


class WeightEMA(Callback):
    """Callback that averages the trainable parameters exponentially and validates the average.

    Lightning's `EMAWeightAveraging` copies the whole module (including buffers and metrics) and
    leaves the raw weights in it when `test` follows `fit` in one Trainer; this callback stores
    only the parameters, and a checkpoint loaded outside of `fit` always contains the EMA.

    Args:
        decay: Decay `d`, in (0, 1).

    Raises:
        UserError: The decay lies outside (0, 1).
    """

    def __init__(self, decay: float) -> None:
        if not 0.0 < decay < 1.0:
            raise UserError(f"optimizer.ema: found {decay}, expected a decay between 0 and 1")
        self.decay = decay
        self.updates = 0
        # The weights that are not in the module at present: the EMA or, while `_swapped`, the
        # training weights.
        self._aside: dict[str, Tensor] = {}
        self._swapped = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the average at the untrained weights."""
        if stage == "fit" and not self._aside:
            self._aside = {n: p.detach().clone() for n, p in _trainable(pl_module).items()}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the average to the device of the module, which has moved since `setup`."""
        for name, parameter in _trainable(pl_module).items():
            self._aside[name] = self._aside[name].to(parameter.device)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Update the average if an optimiser step was taken."""
        if trainer.global_step == self.updates:  # gradients are still accumulating
            return
        self.updates = trainer.global_step
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        parameters = _trainable(pl_module)
        torch._foreach_lerp_(
            [self._aside[name] for name in parameters],
            [p.detach() for p in parameters.values()],
            1 - decay,
        )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Load the average into the module."""
        if self._aside and trainer.state.fn == TrainerFn.FITTING:
            self._swap(pl_module, to_ema=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the training weights."""
        if self._aside and trainer.state.fn == TrainerFn.FITTING:
            self._swap(pl_module, to_ema=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the EMA in the module, so that code after `fit` uses the average."""
        self._swap(pl_module, to_ema=True)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store both sets of weights under their names."""
        if not self._aside:
            return
        held, aside = checkpoint["state_dict"], {**checkpoint["state_dict"], **self._aside}
        ema, training = (held, aside) if self._swapped else (aside, held)
        checkpoint["state_dict"] = ema
        checkpoint["training_state_dict"] = training
        checkpoint["weight_ema"] = {
            "state_dict": "ema",
            "decay": self.decay,
            "updates": self.updates,
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore both sets of weights when a training resumes."""
        if trainer.state.fn != TrainerFn.FITTING:
            return  # `state_dict`, already loaded, is the EMA
        ema = ema_weights(checkpoint)
        self.updates = int(checkpoint["weight_ema"]["updates"])
        self._aside = {n: ema[n].detach().clone() for n in _trainable(pl_module)}
        self._swapped = False
        pl_module.load_state_dict(checkpoint["training_state_dict"])

    @torch.no_grad()
    def _swap(self, pl_module: LightningModule, *, to_ema: bool) -> None:
        if self._swapped == to_ema:
            return
        for name, parameter in _trainable(pl_module).items():
            held = parameter.detach().clone()
            parameter.copy_(self._aside[name])
            self._aside[name].copy_(held)
        self._swapped = to_ema


def ema_weights(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Return the EMA weights of a checkpoint (its `state_dict`).

    Raises:
        UserError: The checkpoint does not mark its weights as an EMA.
    """
    if checkpoint.get("weight_ema", {}).get("state_dict") != "ema":
        raise UserError(
            "the checkpoint was written without an average of the weights (key `weight_ema` is "
            "missing); train again, or set optimizer.ema=0 to continue without one"
        )
    return checkpoint["state_dict"]


def _trainable(module: LightningModule) -> dict[str, Tensor]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
