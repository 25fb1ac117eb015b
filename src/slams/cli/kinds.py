"""The two kinds of verbs of which there are many: stages of an experiment, and benchmarks."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slams.cli.verb import Schema, Takes, Verb, flag, recipe_schema
from slams.config.checks import require
from slams.config.loading import load
from slams.config.paths import check_path
from slams.config.schema import Config
from slams.runtime.heartbeat import Heartbeat
from slams.runtime.signals import importing
from slams.stages.preflight import check_prerequisites

__all__ = ["Benchmark", "Schema", "Stage", "benchmark_verb", "read_recipe", "stage_verb"]

# Takes the recipe and whether this is a dry run.
Stage = Callable[[Config, bool], Any]
# Takes the recipe, if there is one, and the output directory.
Benchmark = Callable[..., None]
# Imports from a cluster's file system may take a minute.
_SILENT_SECONDS = 10.0
_DRY_RUN = "build everything, run one batch, print shapes, memory and time, and write nothing"


def read_recipe(arguments: argparse.Namespace, places: list[Path]) -> Config:
    """Read the recipe of a verb, and note where runs and the store are."""
    config = load(arguments.recipe, arguments.overrides)
    places += [Path(config.runs), Path(config.data.store)]
    return config


def stage_verb(
    name: str, summary: str, *, order: int, sections: tuple[str, ...]
) -> Callable[[Callable[[], Stage]], Verb]:
    """Make the verb of a stage, which reads a recipe and checks what it needs first.

    The function that becomes the verb imports the stage. Arguments as of `Verb`.
    """

    def make(stage: Callable[[], Stage]) -> Verb:
        def run(arguments: argparse.Namespace, places: list[Path]) -> None:
            config = read_recipe(arguments, places)
            require(config, name)
            check_prerequisites(config, name, arguments.dry_run)
            with importing(), Heartbeat(name, _SILENT_SECONDS, "importing torch and Lightning"):
                work = stage()
            work(config, arguments.dry_run)

        return Verb(name, summary, run, stage, order, sections, {"--dry-run": flag(_DRY_RUN)})

    return make


def benchmark_verb(
    name: str,
    summary: str,
    *,
    order: int,
    takes: Takes = "a recipe",
    schema: Callable[[], Schema] = recipe_schema,
) -> Callable[[Callable[[], Benchmark]], Verb]:
    """Make the verb of a benchmark, which has a recipe of its own and writes to `--output`.

    The function that becomes the verb imports the benchmark. Arguments as of `Verb`.
    """
    output = {
        "metavar": "DIR",
        "default": f"runs/{name.replace(' ', '-')}",
        "help": "directory of the tables and the figure (default: %(default)s)",
    }

    def make(benchmark: Callable[[], Benchmark]) -> Verb:
        def run(arguments: argparse.Namespace, places: list[Path]) -> None:
            check_path("--output", arguments.output, written=True)
            output = Path(arguments.output)
            recipe = ()
            if takes != "nothing":
                recipe = (load(arguments.recipe, arguments.overrides, *schema()),)
            places.append(output)
            with importing():
                work = benchmark()
            work(*recipe, output)

        return Verb(name, summary, run, benchmark, order, (), {"--output": output}, takes, schema)

    return make
