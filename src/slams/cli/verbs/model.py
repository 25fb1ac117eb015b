"""Verbs of a trained model: `export` and `info`, `analyse` a day, `cycle` over many."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from slams.cli.verb import flag, verb
from slams.config.paths import check_path
from slams.errors import UserError
from slams.runtime.heartbeat import Heartbeat
from slams.runtime.ranks import say
from slams.runtime.signals import importing

_SILENT_SECONDS = 10.0
_MODEL = {"help": "bundle, or directory of a finished assimilation"}
# What `analyse` and `cycle` have in common.
_GIVEN: dict[str, dict[str, Any]] = {
    "model": _MODEL,
    "--stations": {
        "metavar": "FILE",
        "action": "append",
        "default": [],
        "help": "table of reports (.csv, .parquet): time, latitude, longitude, variable, value; "
        "may be given several times",
    },
    "--imagery": {
        "metavar": "FILE",
        "action": "append",
        "default": [],
        "help": "outgoing longwave radiation on a grid (.nc, .zarr); may be given several times",
    },
    "--members": {
        "type": int,
        "metavar": "N",
        "default": 16,
        "help": "number of ensemble members (default: %(default)s)",
    },
    "--seed": {"type": int, "metavar": "N", "help": "seed of the random numbers"},
    "--method": {
        "metavar": "NAME",
        "default": "latent_diffusion",
        "help": "method of assimilation (default: %(default)s)",
    },
}


@verb(
    "export",
    "write a trained model as a bundle, a directory that loads anywhere",
    order=65,
    options={
        "run": {"help": "directory of a finished assimilation or score model"},
        "--output": {
            "metavar": "DIR",
            "default": "model",
            "help": "directory of the bundle, which must not exist (default: %(default)s)",
        },
        "--without-archive": flag(
            "leave out the archive of training days, which every method needs"
        ),
        "--without-errors": flag(
            "leave out the denoising errors of the archive, which the first analysis then measures"
        ),
        "--archive-days": {
            "type": int,
            "metavar": "N",
            "default": 0,
            "help": "largest number of archive days, in blocks evenly spaced; 0 for all that fit "
            "into 80 MB",
        },
    },
    takes="nothing",
)
def export(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Write weights, statistics, archive, recipe and model card of a run into one directory.

    It loads without the training store, on another machine, and runs no code of its own. The
    training store must be where the run's recipe says.
    """
    check_path("--output", arguments.output, written=True)
    if arguments.archive_days < 0:
        raise UserError(f"--archive-days: found {arguments.archive_days}, expected 0 or more")
    places.append(Path(arguments.output))
    with importing(), Heartbeat("export", _SILENT_SECONDS, "importing torch"):
        from slams.stages.bundle import export_run
    path = export_run(
        arguments.run,
        arguments.output,
        not arguments.without_archive,
        arguments.archive_days,
        not arguments.without_errors,
    )
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    say(f"{path}: {size / 1e6:.1f} MB; `slams info {path}` prints what it takes")


@verb(
    "info",
    "print what a trained model takes and returns",
    order=66,
    options={"model": _MODEL},
    takes="nothing",
)
def info(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Print the grid, channels, backgrounds and methods of a bundle or a run.

    Every file is compared with its checksum first.
    """
    print(_load(arguments.model, "info").inputs)


@verb(
    "analyse",
    "analyse a day from a background and observations in files",
    order=67,
    options={
        "--time": {
            "metavar": "DAY",
            "required": True,
            "help": "the UTC day, such as 2020-01-15, or the time of a step, 2020-01-15T06:00",
        },
        "--background": {
            "metavar": "FILE",
            "help": "an earlier state (.nc, .zarr); the climatology without it",
        },
        "--background-age": {
            "type": int,
            "metavar": "DAYS",
            "help": "age of the background in days, or in steps of the model (default: --time "
            "minus its own time)",
        },
        "--missing": {
            "metavar": "WHAT",
            "default": "refuse",
            "help": "channels that the background lacks: `refuse`, or take the `climatology` "
            "(default: %(default)s)",
        },
        "--verify": {
            "metavar": "FILE",
            "help": "state of the same day (.nc, .zarr) to score the analysis with, or reports "
            "that are held out (.csv, .parquet)",
        },
        "--output": {
            "metavar": "FILE",
            "default": "analysis.nc",
            "help": "the analysis, .nc or .zarr (default: %(default)s)",
        },
        "--packed": flag("store 16-bit integers, with a scale and an offset per variable"),
        "--split-members": flag("write each member to a file of its own beside the output"),
        **_GIVEN,
    },
    takes="nothing",
)
def analyse(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Analyse a UTC day, or step, with a trained model; write members, mean and spread (CF-1.11).

    Inputs are checked as `slams prepare` checks them. Printed are, for each kind of observation,
    how many were given, used and rejected and why, and the departures O-B and O-A.
    """
    check_path("--output", arguments.output, written=True)
    output = Path(arguments.output)
    places.append(output)
    with importing(), Heartbeat("analyse", _SILENT_SECONDS, "importing torch"):
        from slams.cf.writing import check_output, write_dataset
        from slams.stages.model_files import open_given, open_state, open_truth, report_lines
    check_output(output)
    model = _load(arguments.model, "analyse")
    background = open_state("--background", arguments.background)
    truth = open_truth(arguments.verify)
    given = open_given(arguments.stations, arguments.imagery)
    with Heartbeat("analyse", _SILENT_SECONDS, f"analysing {arguments.time}"):
        dataset = model.analyse(
            arguments.time,
            background,
            given,
            members=arguments.members,
            seed=arguments.seed,
            method=arguments.method,
            background_age=arguments.background_age,
            missing=arguments.missing,
            verify=truth,
        )
    print("\n".join(report_lines(dataset)))
    for path in write_dataset(dataset, output, arguments.packed, arguments.split_members):
        say(str(path))


@verb(
    "cycle",
    "analyse consecutive days, each from what the days before have left",
    order=68,
    options={
        "--start": {"metavar": "DAY", "required": True, "help": "the first UTC day, or step"},
        "--days": {"type": int, "metavar": "N", "required": True, "help": "number of days"},
        "--output": {
            "metavar": "DIR",
            "default": "cycle",
            "help": "directory of the analyses and the state (default: %(default)s)",
        },
        **_GIVEN,
    },
    takes="nothing",
)
def cycle(arguments: argparse.Namespace, places: list[Path]) -> None:
    """Cycle a trained model over days, from the climatology, without ever reading the truth.

    Where the model has a learned filter (`slams info` says so), backgrounds are its forecasts;
    otherwise the analysis of the day before, damped.

    Each day is written before the next begins. The same command continues a cycle that was
    interrupted, with the same result.
    """
    check_path("--output", arguments.output, written=True)
    places.append(Path(arguments.output))
    with importing(), Heartbeat("cycle", _SILENT_SECONDS, "importing torch"):
        from slams.stages.model_files import open_given, report_lines
    model = _load(arguments.model, "cycle")
    given = open_given(arguments.stations, arguments.imagery)
    for dataset in model.cycle(
        arguments.start,
        given,
        arguments.days,
        members=arguments.members,
        seed=arguments.seed,
        method=arguments.method,
        output=arguments.output,
    ):
        say("\n".join(report_lines(dataset)))


def _load(path: str, doing: str) -> Any:
    check_path("model", path)
    with importing(), Heartbeat(doing, _SILENT_SECONDS, "opening the model"):
        import torch

        from slams.api import load
        from slams.config.schema import TrainerConfig
        from slams.modules.threads import set_threads

        set_threads(TrainerConfig(), "cuda" if torch.cuda.is_available() else "cpu")
        return load(path)
