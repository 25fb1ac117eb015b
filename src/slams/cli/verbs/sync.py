"""`slams sync`."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.kinds import read_recipe
from slams.cli.verb import Verb, dry_run
from slams.runtime.signals import importing


def run(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Copy the runs of a recipe's experiment."""
    config = read_recipe(arguments, places)
    with importing():
        from slams.stages.places import tracking_store
        from slams.tracking.sync import sync

    sync(tracking_store(config), arguments.dry_run)


VERB = Verb(
    "sync",
    run,
    summary="copy tracked runs from the local store to the recipe's tracking server",
    description=(
        "Copies the MLflow runs of the recipe's experiment from sqlite in `runs`, where "
        "nodes without a network log with tracking.offline=true, to the server that "
        "tracking.uri names. Each run is copied once; repeating the command updates the "
        "copies."
    ),
    sections=("tracking",),
    options=(dry_run("only count what would be copied"),),
    order=100,
)
