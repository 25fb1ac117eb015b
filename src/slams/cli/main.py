"""The command line: `slams VERB RECIPE.yaml [key=value ...]`.

This is the one module that connects the packages. A recipe is read and checked before anything
heavy is imported. A mistake of the user ends in one sentence on standard error and exit code 2, an
interrupt in 130. Any other exception is a defect and shows its traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from slams.cli.exits import INTERRUPTED, exit_lost, print_error, stop, stop_and_requeue
from slams.cli.parser import parse
from slams.cli.verbs import VERBS, Verb, resolve
from slams.config.checks import require
from slams.config.help import format_help, list_keys
from slams.config.loading import load, to_yaml
from slams.config.paths import check_path
from slams.config.schema import Config
from slams.errors import UserError, nearest
from slams.plugins.admission import admit_plugins
from slams.runtime.failures import explain_failure, lost_rank
from slams.runtime.heartbeat import Heartbeat
from slams.runtime.ranks import check_launcher, say
from slams.runtime.signals import Stopped, begin, importing, listen
from slams.slurm import options as submission_options
from slams.slurm import submit
from slams.stages.preflight import check_prerequisites

__all__ = ["main"]

_REFUSED = 2
# Imports from a cluster's file system may take a minute.
_SILENT_SECONDS = 10.0
_FORMATS = ("md", "csv", "latex", "html")
# Read once, when mlflow and the OpenMP runtime are first imported. Threads that wait by spinning
# make torch ten times slower when another process holds a core.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0, 2 for what the user can correct, 75 for a command that was stopped and
        continues when it is repeated, 69 where another rank was lost, 130 for an interrupt, 143
        for SIGTERM.
    """
    listen()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # This warning concerns torch itself: torch.func.jvp uses torch.jit.script for rules of its
    # own.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated.*")
    places: list[Path] = []
    arguments: argparse.Namespace | None = None
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        if arguments is None:
            return _REFUSED
        begin()
        check_launcher()
        code = _run(arguments, places)
        sys.stdout.flush()  # a closed pipe fails here, not while Python exits
        return code
    except KeyboardInterrupt:
        return stop("interrupted", INTERRUPTED, arguments, process=argv is None)
    except Stopped as stopped:
        return stop_and_requeue(stopped, arguments, process=argv is None)
    except SystemExit as error:
        # Lightning ends a fit on an interrupt and then exits with code 1.
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        return stop("interrupted", INTERRUPTED, arguments, process=argv is None)
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe; Python would report that again while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        sentence = explain_failure(error, places)
        if sentence is None:
            raise
        if lost_rank(error):
            return exit_lost(sentence, arguments, process=argv is None)
        # On every rank: a file may be missing on one node alone, and where `LOCAL_RANK` is left
        # over in a shell, no process is rank zero and none would print.
        print_error(sentence, every_rank=True)
        return _REFUSED


def _run(arguments: argparse.Namespace, places: list[Path]) -> int:
    """Run a verb; record in `places` where it writes, for messages when writing fails."""
    verb = arguments.verb
    admit_plugins(getattr(arguments, "allow_plugin", ()), "--allow-plugin")
    if VERBS[verb].bench:
        _bench(VERBS[verb], arguments, places)
        return 0
    if verb == "compare":
        _compare(arguments, places)
        return 0
    if verb == "config print" and arguments.recipe is None:
        if not arguments.keys or arguments.overrides:
            raise UserError("a recipe is missing: slams config print RECIPE.yaml, or --keys alone")
        print(format_help(list_keys()))
        return 0
    config = load(arguments.recipe, arguments.overrides)
    places += [Path(config.runs), Path(config.data.store)]
    if verb == "config print":
        print(format_help(list_keys(config)) if arguments.keys else to_yaml(config).rstrip())
    elif verb == "config validate":
        require(config, "prepare")
        say(f"{arguments.recipe} is valid")
    elif verb == "ablate":
        _ablate(arguments)
    elif verb == "sync":
        with importing():
            from slams.stages.places import tracking_store
            from slams.tracking.sync import sync

        sync(tracking_store(config), arguments.dry_run)
    elif verb == "prepare" and arguments.verify:
        with importing():
            from slams.stages import verify

        verify(config)
    elif verb == "submit":
        submit(submission_options.request_of(arguments), arguments.dry_run)
    else:
        require(config, verb)
        check_prerequisites(config, verb, arguments.dry_run)
        _stage(verb, config, arguments.dry_run)
    return 0


def _bench(verb: Verb, arguments: argparse.Namespace, places: list[Path]) -> None:
    """Read the recipe of a benchmark, if it takes one, then import and run the benchmark."""
    check_path("--output", arguments.output, written=True)
    output = Path(arguments.output)
    recipe = ()
    if verb.recipe:
        schema, validator = verb.load_schema(), verb.load_validator()
        recipe = (load(arguments.recipe, arguments.overrides, schema, validator),)
    places.append(output)
    with importing():
        bench = resolve(verb.bench)
    bench(*recipe, output)


def _compare(arguments: argparse.Namespace, places: list[Path]) -> None:
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


def _ablate(arguments: argparse.Namespace) -> None:
    """Show a sweep and, unless this is a dry run, run it."""
    from slams.sweeps import expand
    from slams.sweeps.status import describe

    sweep = expand(arguments.recipe, arguments.overrides)
    for setting in sweep.settings:
        require(setting.config, "assimilate")
    which = arguments.setting
    say(describe(sweep, sweep.settings if which is None else [sweep.find(which)]))
    if not arguments.dry_run:
        with importing():
            from slams.sweeps.ablation import ablate

        ablate(sweep, which)


def _stage(verb: str, config: Config, dry_run: bool) -> None:
    """Import and run the stage of a verb; every heavy import happens here."""
    with importing(), Heartbeat(verb, _SILENT_SECONDS, "importing torch and Lightning"):
        import slams.stages as stages

        stage = getattr(stages, verb.replace(" ", "_"))
    stage(config, dry_run)
