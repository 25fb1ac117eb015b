"""The verb `init`, which copies a recipe that comes with the package."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.verb import verb
from slams.config.paths import check_path
from slams.config.shipped import copy_recipe, recipe_names


@verb(
    "init",
    "copy a recipe that comes with slams, and those that it extends",
    order=5,
    options={
        "name": {"nargs": "?", "help": "name of the recipe; all names are listed without it"},
        "--output": {
            "metavar": "DIR",
            "default": "experiments",
            "help": "directory of the copies (default: %(default)s)",
        },
    },
    takes="nothing",
)
def init(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Copy a recipe to start from, with every file that it extends or names.

    Prints the paths of the copies. A file of another content is never replaced.
    """
    if arguments.name is None:
        print("\n".join(recipe_names()))
        return
    check_path("--output", arguments.output, written=True)
    output = Path(arguments.output)
    places.append(output)
    for copy in copy_recipe(arguments.name, output):
        print(copy)
