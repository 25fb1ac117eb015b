"""Verbs of the benchmarks: `bench posterior`, `bench data` and the others.

Each has a function that imports the benchmark and, where it has a recipe, one that imports the
data class of the recipe with its validator: no benchmark is imported to build the parser.
"""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


@benchmark_verb(
    "bench posterior",
    "compare every guidance and sampler with posteriors known in closed form",
    order=110,
    takes="nothing",
)
def posterior() -> Benchmark:
    """Sample posteriors whose mean and spread are known with every guidance and sampler.

    Prints how far each is off, and writes the tables and a figure. Takes no recipe; one to two
    minutes on one thread.
    """
    from slams.benchmarks.posterior import bench_posterior

    return bench_posterior


def _cost_schema() -> Schema:
    from slams.benchmarks.recipes import CostConfig, check_cost

    return CostConfig, check_cost


@benchmark_verb(
    "bench sampler",
    "cost per member, and its accuracy, of several recipes",
    order=120,
    schema=_cost_schema,
)
def sampler() -> Benchmark:
    """Analyse the same dates with each recipe in turn.

    Prints seconds per member, their ratio to the first recipe's, RMSE and CRPS. The recipes'
    networks must have been trained.
    """
    from slams.benchmarks.sampler_cost import bench_sampler

    return bench_sampler


@benchmark_verb(
    "bench train",
    "cost per training step of several recipes",
    order=130,
    schema=_cost_schema,
)
def train() -> Benchmark:
    """Step the networks of each recipe in turn on a batch of its own data.

    Prints samples per second and their ratio to the first recipe's.
    """
    from slams.benchmarks.train_cost import bench_train

    return bench_train


@benchmark_verb(
    "bench scaling",
    "cost of guidance, of a member and of training against their parameters",
    order=140,
    schema=_cost_schema,
)
def scaling() -> Benchmark:
    """Time guidance against reports, grid, members and archive days, each case in a process.

    Prints seconds, memory and fitted exponents. Then times the first recipe's denoiser against
    window and grid, its sampler against steps and members, and the training of its score model
    against processes; the key `tables` chooses among them.
    """
    from slams.benchmarks.scaling import bench_scaling

    return bench_scaling


def _preparation_schema() -> Schema:
    from slams.benchmarks.recipes import PreparationBenchConfig
    from slams.plugins.keys import check_keys

    return PreparationBenchConfig, check_keys


@benchmark_verb(
    "bench prepare",
    "prepare a source larger than memory, killed several times",
    order=150,
    schema=_preparation_schema,
)
def preparation() -> Benchmark:
    """Write a synthetic source, and prepare it uninterrupted and killed several times (SIGKILL).

    Compares the stores byte for byte; prints time, throughput and the largest resident memory of
    every run.
    """
    from slams.benchmarks.preparation import bench_preparation

    return bench_preparation


def _stream_schema() -> Schema:
    from slams.benchmarks.recipes import StreamBenchConfig, check_stream_bench

    return StreamBenchConfig, check_stream_bench


@benchmark_verb(
    "bench data",
    "measure how fast windows are read from a training store",
    order=160,
    takes="an optional recipe",
    schema=_stream_schema,
)
def data() -> Benchmark:
    """Make stores of several grids and read random windows from them with every reader in turn.

    Prints samples/s, ratios, and the plan of a quarter-degree store; writes the tables and a
    figure. The recipe may be omitted.
    """
    from slams.benchmarks.stream import bench_data

    return bench_data


def _climate_schema() -> Schema:
    from slams.benchmarks.recipes import ClimateConfig, check_climate

    return ClimateConfig, check_climate


@benchmark_verb(
    "bench climate",
    "whether a nature run drifts, and how close it is to observed climates",
    order=170,
    schema=_climate_schema,
)
def climate() -> Benchmark:
    """Average nature runs by month and compare them with themselves and with observations.

    Prints the trend and spread of their annual means, the difference of their segments, and the
    difference from observed climatologies, by level; writes the tables.
    """
    from slams.benchmarks.climate import bench_climate

    return bench_climate


def _state_schema() -> Schema:
    from slams.benchmarks.state.recipe import StateBenchConfig, check_state_bench

    return StateBenchConfig, check_state_bench


@benchmark_verb(
    "bench state",
    "what a state must carry to forecast the next day's temperature",
    order=180,
    schema=_state_schema,
)
def state() -> Benchmark:
    """Forecast temperature one day ahead from the true state of a training store.

    Uses local regression and score networks trained briefly, with fewer or more variables in the
    state and few or many years of training; prints RMSE by level on the validation days and
    writes the tables. A killed benchmark continues from the rows that are finished.
    """
    from slams.benchmarks.state.bench import bench_state

    return bench_state


def _kolmogorov_schema() -> Schema:
    from slams.warmups.recipes import KolmogorovConfig, check_kolmogorov

    return KolmogorovConfig, check_kolmogorov


@benchmark_verb(
    "bench kolmogorov",
    "assimilate three kinds of observations of a turbulent flow",
    order=190,
    schema=_kolmogorov_schema,
)
def kolmogorov() -> Benchmark:
    """Sample trajectories of the Kolmogorov flow from coarse, sparse and saturating observations.

    Integrates the flow, trains a score network on short windows, prints how far the residuals are
    from the observation error, and writes a table and a figure. Flows and networks are reused
    while their settings are unchanged.
    """
    from slams.warmups.kolmogorov_bench import bench_kolmogorov

    return bench_kolmogorov


def _lorenz63_schema() -> Schema:
    from slams.warmups.recipes import Lorenz63Config, check_lorenz63

    return Lorenz63Config, check_lorenz63


@benchmark_verb(
    "bench lorenz63",
    "guided diffusion against a particle filter on the Lorenz (1963) system",
    order=200,
    schema=_lorenz63_schema,
)
def lorenz63() -> Benchmark:
    """Compare guided diffusion with a particle filter: W1 distance, log-densities.

    Trains a denoiser of short windows, composes it to trajectories, and guides it by observations
    of one coordinate. Prints the table and writes it with a figure.
    """
    from slams.warmups.lorenz63_experiment import bench_lorenz63

    return bench_lorenz63
