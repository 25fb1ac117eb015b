"""`slams submit`."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.kinds import read_recipe
from slams.cli.verb import Option, Verb, dry_run
from slams.slurm import submit
from slams.slurm.request import OPTIONS, request_of


def run(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Submit the stages of a recipe that are not finished."""
    read_recipe(arguments, places)
    submit(request_of(arguments), arguments.dry_run)


VERB = Verb(
    "submit",
    run,
    summary="run a recipe as jobs of a SLURM cluster",
    description=(
        "Writes a batch script for each stage that has not finished, submits them, each "
        "after the one before, and exits. Jobs that are pre-empted, run out of time or "
        "lose a node are requeued and continue in the same run directories. See "
        "docs/cluster.md."
    ),
    sections=("trainer",),
    options=(
        dry_run("only print the scripts"),
        *(Option(name, settings) for name, settings in OPTIONS.items()),
    ),
    order=80,
)
