"""The command line: `slams VERB RECIPE.yaml [key=value ...]`.

The one place that puts the rooms together. A recipe is read and checked before anything heavy is
imported; a mistake of the user ends in one sentence on standard error and exit code 2, an
interrupt in 130. Whatever else escapes is a defect and shows its traceback.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from slams import __version__, slurm, submission_options
from slams.benchmarks.cost_recipe import CostConfig, check_cost
from slams.benchmarks.preparation_recipe import PreparationBenchConfig, check_preparation_bench
from slams.benchmarks.stream_recipe import StreamBenchConfig, check_stream_bench
from slams.checks import check, require
from slams.config import load, to_yaml
from slams.conformity import nearest
from slams.errors import UserError
from slams.failures import explain_failure, lost_rank
from slams.keys import explain, list_keys
from slams.prerequisites import check_prerequisites
from slams.ranks import is_rank_zero, say
from slams.schema import Config
from slams.stopping import LOST, Stopped, begin, listen
from slams.submission import submit
from slams.warmups.kolmogorov_recipe import KolmogorovConfig, check_kolmogorov
from slams.warmups.recipes import Lorenz63Config, check_lorenz63

__all__ = ["main"]

_REFUSED = 2
_FORMATS = ("md", "csv", "latex", "html")
# Seconds that the last words take through srun to the log of a job.
_WORDS_SECONDS = 0.5
# Seconds that rank zero has to close its run before another rank leaves with an error, which takes
# it down (`srun --kill-on-bad-exit`).
_OTHERS_SECONDS = 15.0
_INTERRUPTED = 128 + signal.SIGINT


@dataclass(frozen=True)
class _Verb:
    """Describes a verb: its help, the sections of the recipe explained there, what it takes.

    A verb with `bench` measures something by itself and writes into `--output DIR`: what it names,
    `module:function`, is called with the recipe, where it takes one, and that directory. Its
    recipe may be of another data class than `slams.schema.Config`, `schema`, whose sense `sense`
    checks; such a recipe has no sections to choose from, all its keys are explained.
    """

    summary: str
    description: str
    sections: tuple[str, ...] = ()
    dry_run: bool = True
    recipe: bool = True
    schema: type = Config
    sense: Callable[[Any], None] = check
    bench: str = ""
    # The recipe may be left out: every key then has its default.
    optional: bool = False
    rehearsal: str = (
        "build everything, run one batch, print shapes, memory and time, and write nothing"
    )


_TRAINING = "Continues from the last checkpoint when a run was killed; a finished run is kept."
_VERBS = {
    "simulate": _Verb(
        "make a nature run with a general circulation model (extra `simulate`)",
        "Runs the general circulation model jcm and writes daily means as a CF Zarr store.",
        ("simulate",),
    ),
    "prepare": _Verb(
        "turn source files into a training store with statistics",
        "Reads the source, checks and regrids it, and writes the training store with the "
        "climatology, standard deviations and persistence of the training period. A preparation "
        "that was killed goes on from the files it has finished; a later data.period extends a "
        "finished store.",
        ("data",),
    ),
    "train vae": _Verb(
        "train the autoencoder of all modalities",
        f"Trains the VAE on the training store. {_TRAINING}",
        ("vae", "trainer"),
    ),
    "train score": _Verb(
        "train the denoiser of latent windows",
        f"Encodes the training store with the VAE and trains the latent score on it. {_TRAINING}",
        ("score", "background", "trainer"),
    ),
    "assimilate": _Verb(
        "analyse the test period with every method and score the analyses",
        "Draws or reads observations, analyses every test case with every configured method, and "
        "writes results.parquet, cases.parquet, analysis.zarr and the report.",
        ("observations", "background", "assimilation"),
    ),
    "report": _Verb(
        "make the figures and the HTML report of a finished assimilation",
        "Writes the figures and report/index.html from the results of `slams assimilate`.",
        ("report",),
    ),
    "ablate": _Verb(
        "run every setting of a recipe's sweep",
        "Expands the section `ablation` into settings, shows them, and runs those that have not "
        "finished one after another, each in a run directory of its own; a failure is kept with "
        "its reason and the others go on. The same command again runs only what is missing.",
        ("ablation",),
        rehearsal="only show the settings and how far each has come",
    ),
    "submit": _Verb(
        "run a recipe as jobs of a SLURM cluster",
        "Writes a batch script for each stage that has not finished, submits them, each after the "
        "one before, and leaves. Jobs that are pre-empted, run out of time or lose a node are "
        "requeued and continue in the same run directories. docs/cluster.md has the whole of it.",
        ("trainer",),
        rehearsal="only print the scripts",
    ),
    "compare": _Verb(
        "hold the settings of a sweep against one another",
        "Reads the run directories of a recipe's sweep, or those named, and writes tables "
        "(Markdown, CSV, LaTeX, HTML) with intervals and paired differences from a baseline, and "
        "figures of the metric against what was varied. RECIPE may be run directories instead.",
        ("ablation",),
        dry_run=False,
    ),
    "sync": _Verb(
        "copy tracked runs from the local store to the recipe's tracking server",
        "Copies the MLflow runs of the recipe's experiment from sqlite in `runs`, where nodes "
        "without a network log with tracking.offline=true, to the server that tracking.uri names. "
        "Each run is copied once; the same command again brings the copies up to date.",
        ("tracking",),
        rehearsal="only count what would be copied",
    ),
    "bench posterior": _Verb(
        "hold every guidance and sampler to posteriors known in closed form",
        "Samples posteriors whose mean and spread are known with every guidance and sampler, "
        "prints how far each is off, and writes the tables and a figure. Takes no recipe; one to "
        "two minutes on one thread.",
        dry_run=False,
        recipe=False,
        bench="slams.benchmarks.posterior:bench_posterior",
    ),
    "bench sampler": _Verb(
        "what a member costs and what it is worth, recipe beside recipe",
        "Analyses the same dates with each recipe in turn and prints seconds a member, their "
        "ratio to the first recipe's, and RMSE and CRPS beside it. The recipes' networks must "
        "have been trained.",
        dry_run=False,
        schema=CostConfig,
        sense=check_cost,
        bench="slams.benchmarks.sampler_cost:bench_sampler",
    ),
    "bench train": _Verb(
        "what a training step costs, recipe beside recipe",
        "Steps the networks of each recipe in turn on a batch of its own data, and prints samples "
        "a second and their ratio to the first recipe's.",
        dry_run=False,
        schema=CostConfig,
        sense=check_cost,
        bench="slams.benchmarks.train_cost:bench_train",
    ),
    "bench scaling": _Verb(
        "samples a second against processes, seconds a member against what it depends on",
        "Trains the first recipe's score model on several numbers of processes, and times its "
        "sampler against steps and members and its denoiser against window and grid.",
        dry_run=False,
        schema=CostConfig,
        sense=check_cost,
        bench="slams.benchmarks.scaling:bench_scaling",
    ),
    "bench prepare": _Verb(
        "prepare a source larger than memory, killed on the way",
        "Writes a synthetic source, prepares it in peace and killed several times (SIGKILL), and "
        "compares the stores byte for byte; prints time, throughput and the largest resident "
        "memory of every run.",
        dry_run=False,
        schema=PreparationBenchConfig,
        sense=check_preparation_bench,
        bench="slams.benchmarks.preparation:bench_preparation",
    ),
    "bench data": _Verb(
        "measure how fast windows come out of a training store",
        "Makes stores of several grids, reads random windows from them in every way there is, in "
        "turn, and prints samples/s, ratios, and the plan of a quarter-degree store; writes the "
        "tables and a figure. The recipe may be left out.",
        dry_run=False,
        schema=StreamBenchConfig,
        sense=check_stream_bench,
        bench="slams.benchmarks.stream:bench_data",
        optional=True,
    ),
    "bench kolmogorov": _Verb(
        "assimilate three kinds of observations of a turbulent flow",
        "Integrates the Kolmogorov flow, trains a score network on short windows, and samples "
        "trajectories from coarse, sparse and saturating observations; prints how far the "
        "residuals are from the observation error, and writes table and figure. What was "
        "integrated and trained is taken again while its settings are unchanged.",
        dry_run=False,
        schema=KolmogorovConfig,
        sense=check_kolmogorov,
        bench="slams.warmups.kolmogorov_bench:bench_kolmogorov",
    ),
    "bench lorenz63": _Verb(
        "guided diffusion against a particle filter on the Lorenz (1963) system",
        "Trains a denoiser of short windows, composes it to trajectories, guides it by "
        "observations of one coordinate, and compares with a particle filter: W1 distance, "
        "log-densities. Prints the table, writes it with a figure.",
        dry_run=False,
        schema=Lorenz63Config,
        sense=check_lorenz63,
        bench="slams.warmups.lorenz63_experiment:bench_lorenz63",
    ),
    "config print": _Verb(
        "print a recipe with everything it extends, every default and override",
        "Prints the resolved recipe as YAML; --keys explains each key.",
        dry_run=False,
    ),
    "config validate": _Verb(
        "check a recipe without running anything",
        "Reads and checks the recipe; exit code 2 and one sentence when it is refused.",
        dry_run=False,
    ),
}
_GROUPS = {
    "train": "train a model: `vae`, then `score`",
    "bench": "measure parts: `posterior`, `data`, `prepare`, `sampler`, `train`, ...",
    "config": "look at a recipe: `print`, `validate`",
}


# Read once, when mlflow and the OpenMP runtime are loaded by whatever imports them first. Threads
# that wait by spinning make torch ten times slower when another process holds a core.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}


class _Parser(argparse.ArgumentParser):
    """Refuses like the rest of the program does: one sentence with the nearest right name."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            hint = nearest(str(value), list(action.choices))
            raise UserError(f"there is no verb {value!r}; {hint}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments without the program's name; those of the process when not given.

    Returns:
        The exit code: 0, 2 for what the user can correct, 75 for what was stopped and goes on
        with the same command, 69 where another rank was lost, 130 for an interrupt, 143 for
        SIGTERM.
    """
    listen()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    places: list[Path] = []
    arguments: argparse.Namespace | None = None
    try:
        arguments = _parse(sys.argv[1:] if argv is None else argv)
        if arguments is None:
            return _REFUSED
        begin()
        code = _run(arguments, places)
        sys.stdout.flush()  # a reader that has gone is noticed here, not while Python exits
        return code
    except KeyboardInterrupt:
        return _stop("interrupted", _INTERRUPTED, arguments, process=argv is None)
    except Stopped as stopped:
        return _stop_and_requeue(stopped, arguments, process=argv is None)
    except SystemExit as error:
        # Lightning shuts a fit down on an interrupt and then leaves with code 1.
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        return _stop("interrupted", _INTERRUPTED, arguments, process=argv is None)
    except BrokenPipeError:
        # The reader (`| head`) has gone; Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        sentence = explain_failure(error, places)
        if sentence is None:
            raise
        if lost_rank(error):
            if not is_rank_zero():
                _complain(sentence, every_rank=True)
                time.sleep(_OTHERS_SECONDS)
            return _stop(sentence, LOST, arguments, process=argv is None)
        _complain(sentence)
        return _REFUSED


def _parse(argv: Sequence[str]) -> argparse.Namespace | None:
    parser = _parser()
    if not argv:
        parser.print_help(sys.stderr)
        return None
    # Overrides may stand anywhere, before and after options, which argparse's own positional
    # lists cannot do: what it leaves over is taken when it has the form of an override.
    arguments, rest = parser.parse_known_args(argv)
    if not _VERBS[arguments.verb].recipe:
        if rest:
            raise UserError(
                f"unexpected argument {rest[0]!r}; slams {arguments.verb} takes no recipe and no "
                f"overrides, only --output DIR"
            )
        return arguments
    if arguments.verb == "compare":
        return _sources(arguments, rest)
    words = [word for word in (arguments.recipe, *rest) if word is not None]
    arguments.recipe = next((word for word in words if "=" not in word), None)
    if arguments.recipe is not None:
        words.remove(arguments.recipe)
    arguments.overrides = words
    for word in arguments.overrides:
        if word.startswith("-"):
            verb = _VERBS[arguments.verb]
            options = ["--help", *(["--dry-run"] if verb.dry_run else [])]
            options += ["--output"] if verb.bench else []
            options += ["--setting"] if arguments.verb == "ablate" else []
            options += ["--verify"] if arguments.verb == "prepare" else []
            options += submission_options.OPTIONS if arguments.verb == "submit" else []
            raise UserError(f"there is no option {word!r}; {nearest(word, options)}")
        if "=" not in word:
            raise UserError(
                f"unexpected argument {word!r} beside recipe {arguments.recipe}; overrides are "
                f"written key=value"
            )
    optional = arguments.verb == "config print" or _VERBS[arguments.verb].optional
    if arguments.recipe is None and not optional:
        raise UserError(f"a recipe is missing: slams {arguments.verb} RECIPE.yaml [key=value ...]")
    return arguments


def _sources(arguments: argparse.Namespace, rest: Sequence[str]) -> argparse.Namespace:
    """Tells run directories and recipe from overrides; any number of either may stand anywhere."""
    words = [word for word in (arguments.recipe, *rest) if word is not None]
    for word in words:
        if word.startswith("-"):
            options = ["--help", "--baseline", "--metric", "--format", "--output"]
            raise UserError(f"there is no option {word!r}; {nearest(word, options)}")
    # A directory may have an equals sign in its name.
    arguments.sources = [w for w in words if "=" not in w or Path(w).is_dir()]
    arguments.overrides = [w for w in words if w not in arguments.sources]
    if not arguments.sources:
        raise UserError("a recipe is missing: slams compare RECIPE.yaml, or run directories")
    arguments.recipe = arguments.sources[0]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="slams",
        description="Score-based latent data assimilation in a multimodal setting.",
        epilog="Overrides are dotted keys, for example assimilation.members=32. "
        "`slams VERB --help` explains the keys of a verb.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"slams {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    groups: dict[str, Any] = {}
    for name, verb in _VERBS.items():
        group, _, leaf = name.rpartition(" ")
        if group and group not in groups:
            inner = verbs.add_parser(group, help=_GROUPS[group], description=_GROUPS[group])
            groups[group] = inner.add_subparsers(metavar="VERB", required=True)
        parent = groups[group] if group else verbs
        one = parent.add_parser(
            leaf,
            help=verb.summary,
            description=verb.description,
            epilog=_explain_sections(verb),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        one.set_defaults(verb=name)
        explained = name == "config print"
        times = "?" if explained or verb.optional else None
        if verb.recipe:
            one.add_argument("recipe", help="recipe (YAML)", nargs=times)
        if verb.bench:
            one.add_argument(
                "--output",
                metavar="DIR",
                default=f"runs/{name.replace(' ', '-')}",
                help="where the tables and the figure go (default: %(default)s)",
            )
        if verb.dry_run:
            one.add_argument("--dry-run", action="store_true", help=verb.rehearsal)
        if name == "compare":
            _add_comparison(one)
        if name == "submit":
            submission_options.add_options(one)
        if name == "ablate":
            one.add_argument(
                "--setting",
                metavar="N",
                help="run one setting only, by number or name, as the member of a job array does",
            )
        if name == "prepare":
            one.add_argument(
                "--verify",
                action="store_true",
                help="read a finished store again and compare all of it with its checksums",
            )
        if explained:
            one.add_argument(
                "--keys", action="store_true", help="explain every key, with its value"
            )
    return parser


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--baseline",
        default="",
        help="setting or method held against (default: the recipe's, or the first setting)",
    )
    parser.add_argument(
        "--metric", default="crps", help="metric of the results table (default: %(default)s)"
    )
    parser.add_argument(
        "--format",
        default="md,csv,latex,html",
        help="what is written, with commas between (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="",
        help="where it goes (default: `comparison` in the sweep's directory)",
    )


def _explain_sections(verb: _Verb) -> str:
    if not verb.sections and verb.schema is Config:
        return ""
    explained = explain(list_keys(sections=verb.sections, schema=verb.schema))
    return f"keys and their defaults, override them with key=value:\n\n{explained}"


def _run(arguments: argparse.Namespace, places: list[Path]) -> int:
    """Runs a verb; notes in `places` where it writes, for the case that it cannot."""
    verb = arguments.verb
    if _VERBS[verb].bench:
        _bench(_VERBS[verb], arguments, places)
        return 0
    if verb == "compare":
        _compare(arguments, places)
        return 0
    if verb == "config print" and arguments.recipe is None:
        if not arguments.keys or arguments.overrides:
            raise UserError("a recipe is missing: slams config print RECIPE.yaml, or --keys alone")
        print(explain(list_keys()))
        return 0
    config = load(arguments.recipe, arguments.overrides)
    places += [Path(config.runs), Path(config.data.store)]
    if verb == "config print":
        print(explain(list_keys(config)) if arguments.keys else to_yaml(config).rstrip())
    elif verb == "config validate":
        require(config, "prepare")
        say(f"{arguments.recipe} is valid")
    elif verb == "ablate":
        _ablate(arguments)
    elif verb == "sync":
        from slams.sync import sync

        sync(config, arguments.dry_run)
    elif verb == "prepare" and arguments.verify:
        from slams.stages import verify

        verify(config)
    elif verb == "submit":
        submit(submission_options.request_of(arguments), arguments.dry_run)
    else:
        require(config, verb)
        check_prerequisites(config, verb, arguments.dry_run)
        _stage(verb, config, arguments.dry_run)
    return 0


def _bench(verb: _Verb, arguments: argparse.Namespace, places: list[Path]) -> None:
    """Reads the recipe of a verb that measures, if it takes one; imports and calls the rest."""
    output = Path(arguments.output)
    recipe = ()
    if verb.recipe:
        recipe = (load(arguments.recipe, arguments.overrides, verb.schema, verb.sense),)
    places.append(output)
    module, _, function = verb.bench.partition(":")
    getattr(importlib.import_module(module), function)(*recipe, output)


def _compare(arguments: argparse.Namespace, places: list[Path]) -> None:
    formats = [word.strip() for word in arguments.format.split(",") if word.strip()]
    for name in formats:
        if name not in _FORMATS:
            raise UserError(f"--format: found {name!r}; {nearest(name, _FORMATS)}")
    from slams.stages.comparison import compare

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
    """Shows a sweep and runs it, unless it is only rehearsed."""
    from slams.sweep_status import describe
    from slams.sweeps import expand

    sweep = expand(arguments.recipe, arguments.overrides)
    for setting in sweep.settings:
        require(setting.config, "assimilate")
    which = arguments.setting
    say(describe(sweep, sweep.settings if which is None else [sweep.find(which)]))
    if not arguments.dry_run:
        from slams.stages.ablation import ablate

        ablate(sweep, which)


def _stage(verb: str, config: Config, dry_run: bool) -> None:
    """Imports and runs what a verb stands for; everything heavy happens here."""
    from slams import stages

    getattr(stages, verb.replace(" ", "_"))(config, dry_run)


def _stop_and_requeue(
    stopped: Stopped, arguments: argparse.Namespace | None, *, process: bool
) -> int:
    """Says what stopped the program, and has SLURM run it again if it was SLURM's doing."""
    what = "terminated" if stopped.signum == signal.SIGTERM else f"stopped by {stopped.reason}"
    if not is_rank_zero():
        if stopped.saved:  # as agreed with rank zero, which does the rest
            return _stop(what, 0, arguments, process=process)
        # Rank zero is still at work if the signal came to this rank alone.
        time.sleep(_OTHERS_SECONDS)
        _complain(what, every_rank=True)
    if stopped.signum and slurm.job_id():
        # Before the requeue, which ends this process and what carries its words to the log.
        _complain(f"{what}, {'with a checkpoint' if stopped.saved else 'nothing to save'}")
        time.sleep(_WORDS_SECONDS)
        what = slurm.requeue(stopped.saved)
    return _stop(what, int(str(stopped.code)), arguments, process=process)


def _stop(what: str, code: int, arguments: argparse.Namespace | None, *, process: bool) -> int:
    """Says what the same command does after an interrupt, and leaves at once.

    Runs are closed by now. A thread that was interrupted while it started would be waited for
    without end (Python does not know it), and zarr tells at length what it had in flight.
    """
    then = ""
    if arguments is not None:
        then = "; nothing unfinished counts, the same command does it again"
        if arguments.verb.startswith("train"):
            then = "; the same command continues from the last checkpoint"
        if arguments.verb == "prepare":
            then = "; the same command continues from the files that are finished"
    _complain(f"{what}{then}")
    if process:
        sys.stdout.flush()
        os._exit(code)
    return code


def _complain(sentence: str, every_rank: bool = False) -> None:
    # What zarr had in flight is told about at length while Python exits.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    if is_rank_zero():
        print(f"slams: {sentence}", file=sys.stderr, flush=True)
    elif every_rank:
        where = f"another rank on {socket.gethostname()}"
        print(f"slams: {where}: {sentence}", file=sys.stderr, flush=True)
