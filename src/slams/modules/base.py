"""Base class of trained modules: optimiser, learning rate, and checkpoints with an identity.

A checkpoint records its stage, grid, channels and layout version, so that loading it for other
data is refused with a clear message instead of giving wrong numbers.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from slams.bundles.weights import SUFFIX, read_weights
from slams.config.schema import OptimizerConfig, TrainerConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.modules.fitting import make_optimizer
from slams.nn.checkpointing import checkpoint_blocks
from slams.runtime.files import load_tensors

__all__ = [
    "CHECKPOINT_VERSION",
    "Saved",
    "TrainedModule",
    "check_identity",
    "read_checkpoint",
    "warmup_cosine",
]

CHECKPOINT_VERSION = 1

_AGAIN = "train that stage again with resume=overwrite"


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate at a step: linear warm-up, then half a cosine."""
    rise = min(1.0, (step + 1) / max(warmup, 1))
    return rise * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(steps, 1))))


@dataclass(frozen=True)
class Saved:
    """Contents of a checkpoint, and the data to which its module will be applied.

    Attributes:
        settings: The settings of the stage, plain containers.
        channels: Channels of the fields.
        grid: Grid of the fields.
        state: The weights and buffers.
    """

    settings: dict[str, Any]
    channels: Sequence[FieldSpec]
    grid: LatLonGrid
    state: dict[str, Tensor]


class TrainedModule(LightningModule):
    """Base class with the life cycle of a trained stage; subclasses define networks and losses.

    Args:
        optimizer: Optimiser settings.
        channels: Channels of the fields.
        grid: Grid of the fields.
        settings: The settings of the stage as a plain dictionary, stored in the checkpoint.
    """

    stage = ""
    # Weights of the rows of the grid in the loss, for the run's record: the area of their cells.
    # In records without this entry, the score's loss and the VAE's divergence had equal weights.
    loss_weights = "area"
    # Section of the recipe; the name of the stage if empty.
    section = ""

    def __init__(
        self,
        optimizer: OptimizerConfig,
        channels: Sequence[FieldSpec],
        grid: LatLonGrid,
        settings: dict[str, Any],
    ) -> None:
        super().__init__()
        self.optimizer_config = optimizer
        self.identity = {**self._expected(channels, grid), "settings": settings}

    @property
    @abstractmethod
    def networks(self) -> tuple[nn.Module, ...]:
        """Return the networks of the training step, which are compiled and checkpointed."""

    def configure_networks(self, trainer: TrainerConfig) -> None:
        """Prepare the networks for training according to the recipe; weights keep their names.

        Args:
            trainer: The recipe's `trainer`.
        """
        for network in self.networks:
            # Modules are made with the channels last, which evaluation always uses.
            if not trainer.channels_last:
                network.to(memory_format=torch.contiguous_format)
            if trainer.checkpoint_activations:
                checkpoint_blocks(network)
            if trainer.compile:
                network.compile()

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW with linear warm-up and cosine decay, stepped every batch."""
        config = self.optimizer_config
        optimizer = make_optimizer(self, config)
        schedule = LambdaLR(
            optimizer, lambda step: warmup_cosine(step, config.steps, config.warmup_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the identity."""
        checkpoint["slams"] = self.identity

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume from a different stage, grid, channel set or network."""
        check_identity(checkpoint, self.identity, "the checkpoint to resume from")

    @classmethod
    @abstractmethod
    def build(cls, saved: Saved) -> Self:
        """Build the module from a checkpoint, whose weights are loaded afterwards."""

    @classmethod
    def _expected(cls, channels: Sequence[FieldSpec], grid: LatLonGrid) -> dict[str, Any]:
        """Return the identity of checkpoints that can be applied to some data."""
        return {
            "version": CHECKPOINT_VERSION,
            "stage": cls.stage,
            "channels": [c.name for c in channels],
            "grid": grid.fingerprint,
            "shape": list(grid.shape),
        }

    @classmethod
    def load(cls, path: str | Path, channels: Sequence[FieldSpec], grid: LatLonGrid) -> Self:
        """Load a trained module for evaluation, with the averaged weights if there are any.

        Args:
            path: The checkpoint.
            channels: Channels of the data to which it will be applied.
            grid: Grid of the data to which it will be applied.

        Raises:
            UserError: The file is missing or unreadable, or the checkpoint belongs to another
                stage, grid, channel set or version.
        """
        checkpoint = read_checkpoint(path)
        check_identity(checkpoint, cls._expected(channels, grid), str(path))
        try:
            settings, state = checkpoint["slams"]["settings"], checkpoint["state_dict"]
            module = cls.build(Saved(settings, channels, grid, state))
            module.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError) as error:
            raise UserError(
                f"checkpoint {path}: its weights do not fit the network that it describes, so it "
                f"is damaged or of a different version; {_AGAIN}"
            ) from error
        if not all(bool(p.isfinite().all()) for p in module.parameters()):
            raise UserError(
                f"checkpoint {path}: contains weights that are not finite, so its training "
                f"diverged; {_AGAIN}, with a lower "
                f"{cls.section or cls.stage}.optimizer.learning_rate"
            )
        return module.eval().requires_grad_(False)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, or weights of a bundle; tensors and plain containers only.

    Raises:
        UserError: The file is missing, or is not a checkpoint of this project.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"checkpoint {path}: no such file; train that stage first")
    try:
        checkpoint = read_weights(path) if path.suffix == SUFFIX else load_tensors(path)
    except Exception as error:  # a different type for each kind of damage
        raise UserError(
            f"checkpoint {path}: cannot be read ({type(error).__name__}); it is damaged or not a "
            f"checkpoint; {_AGAIN}"
        ) from error
    if not isinstance(checkpoint, dict) or "slams" not in checkpoint:
        raise UserError(f"checkpoint {path}: was not written by this project; {_AGAIN}")
    return checkpoint


def check_identity(checkpoint: dict[str, Any], expected: dict[str, Any], where: str) -> None:
    """Refuse a checkpoint whose identity is not the expected one.

    Raises:
        UserError: The message gives the first difference, with the found and expected values.
    """
    found = checkpoint.get("slams", {})
    for key, what in _WORDS.items():
        if key in expected and found.get(key) != expected[key]:
            raise UserError(
                f"{where}: belongs to another {what}: found {found.get(key)}, expected "
                f"{expected[key]}; train on this data, or use the data it was trained on in the "
                "recipe"
            )


# What differs, by key of the identity, in the order of the checks.
_WORDS = {
    "version": "version of the checkpoint layout",
    "stage": "stage",
    "channels": "channel set",
    "shape": "grid",
    "grid": "grid (fingerprint of its coordinates)",
    "settings": "network",
}


_Settings = TypeVar("_Settings")


def settings_of(kind: type[_Settings], plain: dict[str, Any]) -> _Settings:
    """Restore the settings of a stage, with those of its optimiser, from a checkpoint."""
    return kind(**{**plain, "optimizer": OptimizerConfig(**plain["optimizer"])})
