"""`slams config print`."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.kinds import read_recipe
from slams.cli.verb import Option, Verb
from slams.config.help import format_help, list_keys
from slams.config.loading import to_yaml
from slams.errors import UserError


def run(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Print a recipe, or the help on its keys."""
    if arguments.recipe is not None:
        config = read_recipe(arguments, places)
        print(format_help(list_keys(config)) if arguments.keys else to_yaml(config).rstrip())
    elif arguments.keys and not arguments.overrides:
        print(format_help(list_keys()))
    else:
        raise UserError("a recipe is missing: slams config print RECIPE.yaml, or --keys alone")


_KEYS = Option("--keys", {"action": "store_true", "help": "explain every key, with its value"})


VERB = Verb(
    "config print",
    run,
    summary="print a recipe with everything it extends, every default and override",
    description="Prints the resolved recipe as YAML; --keys explains each key.",
    options=(_KEYS,),
    takes="an optional recipe",
    order=210,
)
