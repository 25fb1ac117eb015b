"""The verbs of the command line: what each is called, says of itself and takes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["GROUPS", "VERBS", "Verb", "resolve"]

RECIPE_SCHEMA = "slams.config.schema:Config"
RECIPE_CHECK = "slams.config.checks:check"


def resolve(name: str) -> Any:
    """Import what a name stands for.

    Args:
        name: `module:attribute`.
    """
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class Verb:
    """Describes a verb: its help, the sections of the recipe explained there, what it takes.

    A verb with `bench` measures something by itself and writes into `--output DIR`: what it names,
    `module:function`, is called with the recipe, where it takes one, and that directory. Its
    recipe may be of another data class than `slams.config.schema.Config`, `schema`, whose sense
    `sense` checks; such a recipe has no sections to choose from, all its keys are explained.

    `schema` and `sense` are names, `module:attribute`: only the verb that runs, or whose help is
    asked for, imports what they stand for (`load_schema`, `load_check`).
    """

    summary: str
    description: str
    sections: tuple[str, ...] = ()
    dry_run: bool = True
    recipe: bool = True
    schema: str = RECIPE_SCHEMA
    sense: str = RECIPE_CHECK
    bench: str = ""
    # The recipe may be left out: every key then has its default.
    optional: bool = False
    rehearsal: str = (
        "build everything, run one batch, print shapes, memory and time, and write nothing"
    )

    def load_schema(self) -> type:
        """Return the data class of the verb's recipe."""
        return resolve(self.schema)

    def load_check(self) -> Callable[[Any], None]:
        """Return the function that refuses a recipe of this verb which contradicts itself."""
        return resolve(self.sense)


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
        "that was killed goes on from the files it has finished; a later data.period extends a "
        "finished store.",
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
        "finished one after another, each in a run directory of its own; a failure is kept with "
        "its reason and the others go on. The same command again runs only what is missing.",
        ("ablation",),
        rehearsal="only show the settings and how far each has come",
    ),
    "submit": Verb(
        "run a recipe as jobs of a SLURM cluster",
        "Writes a batch script for each stage that has not finished, submits them, each after the "
        "one before, and leaves. Jobs that are pre-empted, run out of time or lose a node are "
        "requeued and continue in the same run directories. docs/cluster.md has the whole of it.",
        ("trainer",),
        rehearsal="only print the scripts",
    ),
    "compare": Verb(
        "hold the settings of a sweep against one another",
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
        "Each run is copied once; the same command again brings the copies up to date.",
        ("tracking",),
        rehearsal="only count what would be copied",
    ),
    "bench posterior": Verb(
        "hold every guidance and sampler to posteriors known in closed form",
        "Samples posteriors whose mean and spread are known with every guidance and sampler, "
        "prints how far each is off, and writes the tables and a figure. Takes no recipe; one to "
        "two minutes on one thread.",
        dry_run=False,
        recipe=False,
        bench="slams.benchmarks.posterior:bench_posterior",
    ),
    "bench sampler": Verb(
        "what a member costs and what it is worth, recipe beside recipe",
        "Analyses the same dates with each recipe in turn and prints seconds a member, their "
        "ratio to the first recipe's, and RMSE and CRPS beside it. The recipes' networks must "
        "have been trained.",
        dry_run=False,
        schema="slams.benchmarks.cost_recipe:CostConfig",
        sense="slams.benchmarks.cost_recipe:check_cost",
        bench="slams.benchmarks.sampler_cost:bench_sampler",
    ),
    "bench train": Verb(
        "what a training step costs, recipe beside recipe",
        "Steps the networks of each recipe in turn on a batch of its own data, and prints samples "
        "a second and their ratio to the first recipe's.",
        dry_run=False,
        schema="slams.benchmarks.cost_recipe:CostConfig",
        sense="slams.benchmarks.cost_recipe:check_cost",
        bench="slams.benchmarks.train_cost:bench_train",
    ),
    "bench scaling": Verb(
        "samples a second against processes, seconds a member against what it depends on",
        "Trains the first recipe's score model on several numbers of processes, and times its "
        "sampler against steps and members and its denoiser against window and grid.",
        dry_run=False,
        schema="slams.benchmarks.cost_recipe:CostConfig",
        sense="slams.benchmarks.cost_recipe:check_cost",
        bench="slams.benchmarks.scaling:bench_scaling",
    ),
    "bench prepare": Verb(
        "prepare a source larger than memory, killed on the way",
        "Writes a synthetic source, prepares it in peace and killed several times (SIGKILL), and "
        "compares the stores byte for byte; prints time, throughput and the largest resident "
        "memory of every run.",
        dry_run=False,
        schema="slams.benchmarks.preparation_recipe:PreparationBenchConfig",
        sense="slams.benchmarks.preparation_recipe:check_preparation_bench",
        bench="slams.benchmarks.preparation:bench_preparation",
    ),
    "bench data": Verb(
        "measure how fast windows come out of a training store",
        "Makes stores of several grids, reads random windows from them in every way there is, in "
        "turn, and prints samples/s, ratios, and the plan of a quarter-degree store; writes the "
        "tables and a figure. The recipe may be left out.",
        dry_run=False,
        schema="slams.benchmarks.stream_recipe:StreamBenchConfig",
        sense="slams.benchmarks.stream_recipe:check_stream_bench",
        bench="slams.benchmarks.stream:bench_data",
        optional=True,
    ),
    "bench climate": Verb(
        "whether a nature run drifts, and how near it is to observed climates",
        "Averages nature runs by month and prints the trend and spread of their annual means, the "
        "difference of their segments, and the difference from observed climatologies, by level; "
        "writes the tables.",
        dry_run=False,
        schema="slams.benchmarks.climate_recipe:ClimateConfig",
        sense="slams.benchmarks.climate_recipe:check_climate",
        bench="slams.benchmarks.climate:bench_climate",
    ),
    "bench state": Verb(
        "what a state must carry to forecast the next day's temperature",
        "Forecasts temperature one day ahead from the true state of a training store, by local "
        "regression and by score networks trained shortly, with less or more in the state and "
        "few or many years of training; prints RMSE by level on the validation days and writes "
        "the tables. A benchmark that was killed goes on from the rows it has finished.",
        dry_run=False,
        schema="slams.benchmarks.state.recipe:StateBenchConfig",
        sense="slams.benchmarks.state.recipe:check_state_bench",
        bench="slams.benchmarks.state.bench:bench_state",
    ),
    "bench kolmogorov": Verb(
        "assimilate three kinds of observations of a turbulent flow",
        "Integrates the Kolmogorov flow, trains a score network on short windows, and samples "
        "trajectories from coarse, sparse and saturating observations; prints how far the "
        "residuals are from the observation error, and writes table and figure. What was "
        "integrated and trained is taken again while its settings are unchanged.",
        dry_run=False,
        schema="slams.warmups.kolmogorov_recipe:KolmogorovConfig",
        sense="slams.warmups.kolmogorov_recipe:check_kolmogorov",
        bench="slams.warmups.kolmogorov_bench:bench_kolmogorov",
    ),
    "bench lorenz63": Verb(
        "guided diffusion against a particle filter on the Lorenz (1963) system",
        "Trains a denoiser of short windows, composes it to trajectories, guides it by "
        "observations of one coordinate, and compares with a particle filter: W1 distance, "
        "log-densities. Prints the table, writes it with a figure.",
        dry_run=False,
        schema="slams.warmups.recipes:Lorenz63Config",
        sense="slams.warmups.recipes:check_lorenz63",
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
    "config": "look at a recipe: `print`, `validate`",
}
