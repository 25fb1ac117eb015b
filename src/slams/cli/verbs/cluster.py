"""Verbs for clusters: `submit` runs a recipe as jobs, `sync` copies what nodes have tracked."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.kinds import read_recipe
from slams.cli.verb import flag, verb
from slams.runtime.signals import importing
from slams.slurm.request import OPTIONS, request_of


@verb(
    "submit",
    "run a recipe as jobs of a SLURM cluster",
    order=80,
    sections=("trainer",),
    options={"--dry-run": flag("only print the scripts"), **OPTIONS},
)
def submit(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Write a batch script for each stage that has not finished, submit them, and exit.

    Each job starts after the one before. Jobs that are pre-empted, run out of time or lose a node
    are requeued and continue in the same run directories. See docs/cluster.md.
    """
    from slams.slurm import submit

    read_recipe(arguments, places)
    submit(request_of(arguments), arguments.dry_run)


@verb(
    "sync",
    "copy tracked runs from the local store to the recipe's tracking server",
    order=100,
    sections=("tracking",),
    options={"--dry-run": flag("only count what would be copied")},
)
def sync(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Copy the MLflow runs of the recipe's experiment to the server that tracking.uri names.

    They come from sqlite in `runs`, where nodes without a network log with tracking.offline=true.
    Each run is copied once; repeating the command updates the copies.
    """
    config = read_recipe(arguments, places)
    with importing():
        from slams.stages.places import tracking_store
        from slams.tracking.sync import sync

    sync(tracking_store(config), arguments.dry_run)
