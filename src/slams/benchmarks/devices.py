"""The device of the benchmarks of cost, and its synchronisation."""

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
    """Wait until a GPU has finished its work; a CPU needs no waiting."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
