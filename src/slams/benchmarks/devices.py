"""Where the benchmarks of cost compute, and when what was asked of a device is done."""

from __future__ import annotations

import torch

from slams.config.schema import TrainerConfig
from slams.modules.trainer import check_machine

__all__ = ["device_of", "synchronise"]


def device_of(config: TrainerConfig) -> torch.device:
    """Return the device that a recipe computes on.

    Raises:
        UserError: The machine does not have it.
    """
    return torch.device("cuda" if check_machine(config) == "gpu" else "cpu")


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was asked to; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
