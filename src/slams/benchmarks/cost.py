"""What the benchmarks of cost share: the recipes that are timed, the clock, and its cells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import pandas as pd
import torch

from slams.benchmarks.recipes import CostConfig
from slams.config.checks import require
from slams.config.loading import load
from slams.config.schema import Config, TrainerConfig
from slams.errors import UserError
from slams.modules.trainer import check_machine

__all__ = ["device_of", "load_contenders", "millions", "spread_of", "timed"]

_Result = TypeVar("_Result")


def load_contenders(config: CostConfig, verb: str) -> Mapping[str, Config]:
    """Read the recipes to time.

    Args:
        config: The benchmark's recipe.
        verb: What each recipe must be able to do, as for `slams.config.checks.require`.

    Raises:
        UserError: A recipe is refused; the message names it.
    """
    found = {}
    for name, path in config.recipes.items():
        try:
            found[name] = load(path, trusted=False)
            require(found[name], verb)
        except UserError as error:
            raise UserError(f"recipe {name!r}: {error}") from None
    return found


def device_of(config: TrainerConfig) -> torch.device:
    """Return the device that a recipe computes on.

    Raises:
        UserError: The machine does not have it.
    """
    return torch.device("cuda" if check_machine(config) == "gpu" else "cpu")


def timed(
    device: torch.device, work: Callable[[], _Result], times: int = 1
) -> tuple[float, _Result]:
    """Return the seconds until a device has finished some work, and its last result.

    Args:
        device: The device.
        work: The work.
        times: How many times it is done.
    """
    _synchronise(device)
    started = time.perf_counter()
    for _ in range(times):
        result = work()
    _synchronise(device)
    return time.perf_counter() - started, result


def _synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its work; a CPU needs no waiting."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread_of(values: pd.Series) -> str:
    """Format timings, or their ratios pair by pair, as median (least, most)."""
    return f"{values.median():.3g} ({values.min():.3g}, {values.max():.3g})"


def millions(parameters: int) -> str:
    """Format a number of parameters."""
    return f"{parameters / 1e6:.2f} M"
