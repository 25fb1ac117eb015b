"""`slams config validate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.kinds import read_recipe
from slams.cli.verb import Verb
from slams.config.checks import require
from slams.runtime.ranks import say


def run(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Check a recipe."""
    require(read_recipe(arguments, places), "prepare")
    say(f"{arguments.recipe} is valid")


VERB = Verb(
    "config validate",
    run,
    summary="check a recipe without running anything",
    description="Reads and checks the recipe; exit code 2 and one sentence when it is refused.",
    order=220,
)
