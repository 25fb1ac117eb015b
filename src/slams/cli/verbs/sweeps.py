"""Verbs of a sweep of settings: `ablate` runs it, `compare` compares its settings."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.kinds import read_recipe
from slams.cli.verb import flag, verb
from slams.config.checks import require
from slams.config.loading import load
from slams.config.paths import check_path
from slams.errors import UserError, nearest
from slams.runtime.ranks import say
from slams.runtime.signals import importing

_FORMATS = ("md", "csv", "latex", "html")
_SETTING = "run one setting only, by number or name, as a task of a job array does"
_BASELINE = "setting or method to compare with (default: the recipe's, or the first setting)"
_METRIC = "metric of the results table (default: %(default)s)"
_FORMAT = "formats to write, separated by commas (default: %(default)s)"
_OUTPUT = "directory of the output (default: `comparison` in the sweep's directory)"


@verb(
    "ablate",
    "run every setting of a recipe's sweep",
    order=70,
    sections=("ablation",),
    options={
        "--dry-run": flag("only show the settings and the progress of each"),
        "--setting": {"metavar": "N", "help": _SETTING},
    },
)
def ablate(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Expand the section `ablation` into settings, show them, and run those that are unfinished.

    They run one after another, each in a run directory of its own; a failure is recorded with its
    reason and the others continue. The same command again runs the rest.
    """
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


@verb(
    "compare",
    "compare the settings of a sweep",
    order=90,
    sections=("ablation",),
    options={
        "--baseline": {"default": "", "help": _BASELINE},
        "--metric": {"default": "crps", "help": _METRIC},
        "--format": {"default": ",".join(_FORMATS), "help": _FORMAT},
        "--output": {"default": "", "metavar": "DIR", "help": _OUTPUT},
    },
    takes="run directories or a recipe",
)
def compare(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Read the run directories of a recipe's sweep, or those named instead of RECIPE.

    Writes tables (Markdown, CSV, LaTeX, HTML) with intervals and paired differences from a
    baseline, and figures of the metric against what was varied.
    """
    formats = [word.strip() for word in arguments.format.split(",") if word.strip()]
    for name in formats:
        if name not in _FORMATS:
            raise UserError(f"--format: found {name!r}; {nearest(name, _FORMATS)}")
    for source in arguments.sources:
        check_path("run directory or recipe", source)
    check_path("--output", arguments.output, written=True)
    if len(arguments.sources) == 1 and not Path(arguments.sources[0]).is_dir():
        load(arguments.sources[0], arguments.overrides)  # refused before torch is imported
    with importing():
        from slams.comparison.compare import compare

    places.append(Path(arguments.output or "."))
    compare(
        arguments.sources,
        arguments.overrides,
        arguments.baseline,
        arguments.metric,
        formats,
        arguments.output,
    )
