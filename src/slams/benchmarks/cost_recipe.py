"""Recipes that `slams bench sampler`, `train` and `scaling` time side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slams.config.checks import require
from slams.config.loading import load
from slams.config.schema import Config
from slams.errors import UserError
from slams.plugins.keys import NOT_EMPTY, at_least, each, key

__all__ = ["CostConfig", "check_cost", "load_contenders"]


@dataclass
class CostConfig:
    """Recipes that are timed in turn, in one run."""

    # Name in the tables -> recipe (path from the working directory). Ratios are relative to the
    # first recipe.
    recipes: dict[str, Any] = field(default_factory=dict)
    # Method of the recipes that `sampler` times.
    method: str = "latent_diffusion"
    # Verifying dates and members that `sampler` draws with each recipe, the same for all.
    cases: int = key(3, at_least(1))
    members: int = key(4, at_least(2))
    # Training steps that `train` times at once, and number of rounds over the recipes.
    steps: int = key(10, at_least(1))
    repetitions: int = key(5, at_least(1))
    # Numbers of other programs, each of which holds a core, while `train` times the recipes.
    busy: list[int] = key([0], NOT_EMPTY, each(at_least(0)))
    # Numbers of processes with which `scaling` trains the first recipe, and training steps of
    # each.
    ranks: list[int] = key([1, 2], NOT_EMPTY, each(at_least(1)))
    scaling_steps: int = key(120, at_least(1))
    # Parameters with which `scaling` samples the first recipe: steps of the sampler, and members.
    sampler_steps: list[int] = key([8, 16, 32, 64], NOT_EMPTY, each(at_least(2)))
    sampler_members: list[int] = key([2, 4, 8, 16], NOT_EMPTY, each(at_least(2)))


def check_cost(config: CostConfig) -> None:
    """Refuse a recipe that contradicts itself.

    Raises:
        UserError: One sentence with the key.
    """
    if not config.recipes:
        raise UserError(
            "key 'recipes': found none, expected {name: recipe.yaml}, the first to compare with"
        )
    for name, path in config.recipes.items():
        if not isinstance(path, str):
            raise UserError(f"key 'recipes.{name}': found {path!r}, expected the path of a recipe")
        if not Path(path).is_file():
            raise UserError(
                f"key 'recipes.{name}': {path} is not there; paths are relative to the working "
                f"directory"
            )


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
