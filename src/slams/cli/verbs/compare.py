"""`slams compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from slams.cli.verb import Option, Verb
from slams.config.loading import load
from slams.config.paths import check_path
from slams.errors import UserError, nearest
from slams.runtime.signals import importing

_FORMATS = ("md", "csv", "latex", "html")
_OPTIONS = (
    Option(
        "--baseline",
        {
            "default": "",
            "help": "setting or method to compare with (default: the recipe's, or the first "
            "setting)",
        },
    ),
    Option(
        "--metric",
        {"default": "crps", "help": "metric of the results table (default: %(default)s)"},
    ),
    Option(
        "--format",
        {
            "default": ",".join(_FORMATS),
            "help": "formats to write, separated by commas (default: %(default)s)",
        },
    ),
    Option(
        "--output",
        {
            "metavar": "DIR",
            "default": "",
            "help": "directory of the output (default: `comparison` in the sweep's directory)",
        },
    ),
)


def run(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Compare the settings of a sweep, or run directories."""
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


VERB = Verb(
    "compare",
    run,
    summary="compare the settings of a sweep",
    description=(
        "Reads the run directories of a recipe's sweep, or those named, and writes tables "
        "(Markdown, CSV, LaTeX, HTML) with intervals and paired differences from a "
        "baseline, and figures of the metric against what was varied. RECIPE may be run "
        "directories instead."
    ),
    sections=("ablation",),
    options=_OPTIONS,
    takes="run directories or a recipe",
    order=90,
)
