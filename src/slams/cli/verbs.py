"""The verbs of the command line: their names, their help and what they take."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["GROUPS", "VERBS", "Verb", "resolve"]

RECIPE_SCHEMA = "slams.config.schema:Config"
RECIPE_CHECK = "slams.config.checks:check"


def resolve(name: str) -> Any:
    """Import an object by name.

    Args:
        name: `module:attribute`.
    """
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class Verb:
    """Description of a verb: its help, the recipe sections that its help explains, its options.

    A verb with `bench` measures something on its own and writes into `--output DIR`: the function
    `module:function` is called with the recipe, where the verb takes one, and that directory.
    Its recipe may be of another data class, `schema`, than `slams.config.schema.Config`, checked
    by `validator`; such a recipe has no sections to choose from, and the help explains all its
    keys.

    `schema` and `validator` are names, `module:attribute`: they are imported only for the verb
    that runs or whose help is shown (`load_schema`, `load_validator`).
    """

    summary: str
    description: str
    sections: tuple[str, ...] = ()
    dry_run: bool = True
    recipe: bool = True
    schema: str = RECIPE_SCHEMA
    validator: str = RECIPE_CHECK
    bench: str = ""
    # The recipe may be omitted: every key then has its default.
    optional: bool = False
    dry_run_help: str = (
        "build everything, run one batch, print shapes, memory and time, and write nothing"
    )

    def load_schema(self) -> type:
        """Return the data class of the verb's recipe."""
        return resolve(self.schema)

    def load_validator(self) -> Callable[[Any], None]:
        """Return the function that refuses a recipe of this verb that contradicts itself."""
        return resolve(self.validator)


_TRAINING = "Continues from the last checkpoint when a run was killed; a finished run is kept."
VERBS = {
    "simulate": Verb(
        "make a nature run with a general circulation model (extra `simulate`)",
        "Runs the general circulation model jcm and writes daily means, or instants every 6 "
        "hours, as a CF Zarr store. A simulation that was killed continues from the last piece "
        "that is finished.",
        ("simulate",),
    ),
    "prepare": Verb(
        "turn source files into a training store with statistics",
        "Reads the source, checks and regrids it, and writes the training store with the "
        "climatology, standard deviations and persistence of the training period. A preparation "
        "that was killed continues from the files that are finished; a later data.period extends "
        "a finished store.",
        ("data",),
    ),
    "train vae": Verb(
        "train the autoencoder of all modalities",
        f"Trains the VAE on the training store. {_TRAINING}",
        ("vae", "trainer"),
    ),
    "train score": Verb(
        "train the denoiser of latent windows",
        f"Encodes the training store with the VAE and trains the latent score on it. {_TRAINING}",
        ("score", "background", "trainer"),
    ),
    "assimilate": Verb(
        "analyse the test period with every method and score the analyses",
        "Draws or reads observations, analyses every test case with every configured method, and "
        "writes results.parquet, cases.parquet, analysis.zarr and the report.",
        ("observations", "background", "assimilation"),
    ),
    "report": Verb(
        "make the figures and the HTML report of a finished assimilation",
        "Writes the figures and report/index.html from the results of `slams assimilate`.",
        ("report",),
    ),
    "ablate": Verb(
        "run every setting of a recipe's sweep",
        "Expands the section `ablation` into settings, shows them, and runs those that have not "
        "finished one after another, each in a run directory of its own; a failure is recorded "
        "with its reason and the others continue. The same command again runs the rest.",
        ("ablation",),
        dry_run_help="only show the settings and the progress of each",
    ),
    "submit": Verb(
        "run a recipe as jobs of a SLURM cluster",
        "Writes a batch script for each stage that has not finished, submits them, each after the "
        "one before, and exits. Jobs that are pre-empted, run out of time or lose a node are "
        "requeued and continue in the same run directories. See docs/cluster.md.",
        ("trainer",),
        dry_run_help="only print the scripts",
    ),
    "compare": Verb(
        "compare the settings of a sweep",
        "Reads the run directories of a recipe's sweep, or those named, and writes tables "
        "(Markdown, CSV, LaTeX, HTML) with intervals and paired differences from a baseline, and "
        "figures of the metric against what was varied. RECIPE may be run directories instead.",
        ("ablation",),
        dry_run=False,
    ),
    "sync": Verb(
        "copy tracked runs from the local store to the recipe's tracking server",
        "Copies the MLflow runs of the recipe's experiment from sqlite in `runs`, where nodes "
        "without a network log with tracking.offline=true, to the server that tracking.uri names. "
        "Each run is copied once; repeating the command updates the copies.",
        ("tracking",),
        dry_run_help="only count what would be copied",
    ),
    "bench posterior": Verb(
        "compare every guidance and sampler with posteriors known in closed form",
        "Samples posteriors whose mean and spread are known with every guidance and sampler, "
        "prints how far each is off, and writes the tables and a figure. Takes no recipe; one to "
        "two minutes on one thread.",
        dry_run=False,
        recipe=False,
        bench="slams.benchmarks.posterior:bench_posterior",
    ),
    "bench sampler": Verb(
        "cost per member, and its accuracy, of several recipes",
        "Analyses the same dates with each recipe in turn and prints seconds per member, their "
        "ratio to the first recipe's, RMSE and CRPS. The recipes' networks must "
        "have been trained.",
        dry_run=False,
        schema="slams.benchmarks.cost_recipe:CostConfig",
        validator="slams.benchmarks.cost_recipe:check_cost",
        bench="slams.benchmarks.sampler_cost:bench_sampler",
    ),
    "bench train": Verb(
        "cost per training step of several recipes",
        "Steps the networks of each recipe in turn on a batch of its own data, and prints samples "
        "per second and their ratio to the first recipe's.",
        dry_run=False,
        schema="slams.benchmarks.cost_recipe:CostConfig",
        validator="slams.benchmarks.cost_recipe:check_cost",
        bench="slams.benchmarks.train_cost:bench_train",
    ),
    "bench scaling": Verb(
        "samples per second against processes, and seconds per member against its parameters",
        "Trains the first recipe's score model on several numbers of processes, and times its "
        "sampler against steps and members and its denoiser against window and grid.",
        dry_run=False,
        schema="slams.benchmarks.cost_recipe:CostConfig",
        validator="slams.benchmarks.cost_recipe:check_cost",
        bench="slams.benchmarks.scaling:bench_scaling",
    ),
    "bench prepare": Verb(
        "prepare a source larger than memory, killed several times",
        "Writes a synthetic source, prepares it uninterrupted and killed several times (SIGKILL), "
        "and compares the stores byte for byte; prints time, throughput and the largest resident "
        "memory of every run.",
        dry_run=False,
        schema="slams.benchmarks.preparation_recipe:PreparationBenchConfig",
        validator="slams.benchmarks.preparation_recipe:check_preparation_bench",
        bench="slams.benchmarks.preparation:bench_preparation",
    ),
    "bench data": Verb(
        "measure how fast windows are read from a training store",
        "Makes stores of several grids, reads random windows from them with every reader in "
        "turn, and prints samples/s, ratios, and the plan of a quarter-degree store; writes the "
        "tables and a figure. The recipe may be omitted.",
        dry_run=False,
        schema="slams.benchmarks.stream_recipe:StreamBenchConfig",
        validator="slams.benchmarks.stream_recipe:check_stream_bench",
        bench="slams.benchmarks.stream:bench_data",
        optional=True,
    ),
    "bench climate": Verb(
        "whether a nature run drifts, and how close it is to observed climates",
        "Averages nature runs by month and prints the trend and spread of their annual means, the "
        "difference of their segments, and the difference from observed climatologies, by level; "
        "writes the tables.",
        dry_run=False,
        schema="slams.benchmarks.climate_recipe:ClimateConfig",
        validator="slams.benchmarks.climate_recipe:check_climate",
        bench="slams.benchmarks.climate:bench_climate",
    ),
    "bench state": Verb(
        "what a state must carry to forecast the next day's temperature",
        "Forecasts temperature one day ahead from the true state of a training store, by local "
        "regression and by score networks trained briefly, with fewer or more variables in the "
        "state and few or many years of training; prints RMSE by level on the validation days and "
        "writes the tables. A killed benchmark continues from the rows that are finished.",
        dry_run=False,
        schema="slams.benchmarks.state.recipe:StateBenchConfig",
        validator="slams.benchmarks.state.recipe:check_state_bench",
        bench="slams.benchmarks.state.bench:bench_state",
    ),
    "bench kolmogorov": Verb(
        "assimilate three kinds of observations of a turbulent flow",
        "Integrates the Kolmogorov flow, trains a score network on short windows, and samples "
        "trajectories from coarse, sparse and saturating observations; prints how far the "
        "residuals are from the observation error, and writes a table and a figure. Flows and "
        "networks are reused while their settings are unchanged.",
        dry_run=False,
        schema="slams.warmups.kolmogorov_recipe:KolmogorovConfig",
        validator="slams.warmups.kolmogorov_recipe:check_kolmogorov",
        bench="slams.warmups.kolmogorov_bench:bench_kolmogorov",
    ),
    "bench lorenz63": Verb(
        "guided diffusion against a particle filter on the Lorenz (1963) system",
        "Trains a denoiser of short windows, composes it to trajectories, guides it by "
        "observations of one coordinate, and compares with a particle filter: W1 distance, "
        "log-densities. Prints the table and writes it with a figure.",
        dry_run=False,
        schema="slams.warmups.recipes:Lorenz63Config",
        validator="slams.warmups.recipes:check_lorenz63",
        bench="slams.warmups.lorenz63_experiment:bench_lorenz63",
    ),
    "config print": Verb(
        "print a recipe with everything it extends, every default and override",
        "Prints the resolved recipe as YAML; --keys explains each key.",
        dry_run=False,
    ),
    "config validate": Verb(
        "check a recipe without running anything",
        "Reads and checks the recipe; exit code 2 and one sentence when it is refused.",
        dry_run=False,
    ),
}
GROUPS = {
    "train": "train a model: `vae`, then `score`",
    "bench": "measure parts: `posterior`, `data`, `prepare`, `sampler`, `train`, ...",
    "config": "show or check a recipe: `print`, `validate`",
}
