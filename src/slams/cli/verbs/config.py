"""Verbs that show and check a recipe: `config print`, `config validate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.kinds import read_recipe
from slams.cli.verb import flag, verb
from slams.config.checks import require
from slams.config.help import format_help, list_keys
from slams.config.loading import to_yaml
from slams.errors import UserError
from slams.runtime.ranks import say


@verb(
    "config print",
    "print a recipe with everything it extends, every default and override",
    order=210,
    options={"--keys": flag("explain every key, with its value")},
    takes="an optional recipe",
)
def print_recipe(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Print the resolved recipe as YAML; --keys explains each key."""
    if arguments.recipe is not None:
        config = read_recipe(arguments, places)
        print(format_help(list_keys(config)) if arguments.keys else to_yaml(config).rstrip())
    elif arguments.keys and not arguments.overrides:
        print(format_help(list_keys()))
    else:
        raise UserError("a recipe is missing: slams config print RECIPE.yaml, or --keys alone")


@verb("config validate", "check a recipe without running anything", order=220)
def validate(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Read and check the recipe; exit with code 2 and one sentence when it is refused.

    Prints the memory that an assimilation of it will take.
    """
    config = read_recipe(arguments, places)
    require(config, "prepare")
    say(f"{arguments.recipe} is valid")
    if config.assimilation.methods:
        from slams.stages.memory import recipe_memory  # imports NumPy

        say(recipe_memory(config))
