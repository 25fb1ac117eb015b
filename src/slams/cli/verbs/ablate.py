"""`slams ablate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.kinds import read_recipe
from slams.cli.verb import Option, Verb, dry_run
from slams.config.checks import require
from slams.runtime.ranks import say
from slams.runtime.signals import importing


def run(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Show a sweep and, unless this is a dry run, run it."""
    from slams.sweeps import expand
    from slams.sweeps.status import describe

    read_recipe(arguments, places)
    sweep = expand(arguments.recipe, arguments.overrides)
    for setting in sweep.settings:
        require(setting.config, "assimilate")
    which = arguments.setting
    say(describe(sweep, sweep.settings if which is None else [sweep.find(which)]))
    if not arguments.dry_run:
        with importing():
            from slams.sweeps.ablation import ablate

        ablate(sweep, which)


_SETTING = Option(
    "--setting",
    {
        "metavar": "N",
        "help": "run one setting only, by number or name, as a task of a job array does",
    },
)


VERB = Verb(
    "ablate",
    run,
    summary="run every setting of a recipe's sweep",
    description=(
        "Expands the section `ablation` into settings, shows them, and runs those that "
        "have not finished one after another, each in a run directory of its own; a "
        "failure is recorded with its reason and the others continue. The same command "
        "again runs the rest."
    ),
    sections=("ablation",),
    options=(dry_run("only show the settings and the progress of each"), _SETTING),
    order=70,
)
