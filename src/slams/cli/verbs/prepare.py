"""`slams prepare`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from slams.cli.kinds import Stage, read_recipe, stage_verb
from slams.cli.verb import Option
from slams.runtime.signals import importing

_VERIFY = Option(
    "--verify",
    {
        "action": "store_true",
        "help": "read a finished store again and compare all of it with its checksums",
    },
)


def load() -> Stage:
    """Import the stage."""
    from slams.stages.sources import prepare

    return prepare


_PREPARE = stage_verb(
    "prepare",
    load,
    summary="turn source files into a training store with statistics",
    description=(
        "Reads the source, checks and regrids it, and writes the training store with the "
        "climatology, standard deviations and persistence of the training period. A "
        "preparation that was killed continues from the files that are finished; a later "
        "data.period extends a finished store."
    ),
    sections=("data",),
    order=20,
    options=(_VERIFY,),
)


def run(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Prepare a store, or verify one that is finished."""
    if not arguments.verify:
        _PREPARE.run(arguments, places)
        return
    config = read_recipe(arguments, places)
    with importing():
        from slams.stages.sources import verify

    verify(config)


VERB = replace(_PREPARE, run=run)
