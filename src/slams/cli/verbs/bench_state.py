"""`slams bench state`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.benchmarks.state.bench import bench_state

    return bench_state


def schema() -> Schema:
    """Import the data class of the recipe, and its validator."""
    from slams.benchmarks.state.recipe import StateBenchConfig, check_state_bench

    return StateBenchConfig, check_state_bench


VERB = benchmark_verb(
    "bench state",
    load,
    schema=schema,
    summary="what a state must carry to forecast the next day's temperature",
    description=(
        "Forecasts temperature one day ahead from the true state of a training store, by "
        "local regression and by score networks trained briefly, with fewer or more "
        "variables in the state and few or many years of training; prints RMSE by level "
        "on the validation days and writes the tables. A killed benchmark continues from "
        "the rows that are finished."
    ),
    order=180,
)
