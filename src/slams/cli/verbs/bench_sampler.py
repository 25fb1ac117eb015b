"""`slams bench sampler`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.benchmarks.sampler_cost import bench_sampler

    return bench_sampler


def schema() -> Schema:
    """Import the data class of the recipe, and its validator."""
    from slams.benchmarks.recipes import CostConfig, check_cost

    return CostConfig, check_cost


VERB = benchmark_verb(
    "bench sampler",
    load,
    schema=schema,
    summary="cost per member, and its accuracy, of several recipes",
    description=(
        "Analyses the same dates with each recipe in turn and prints seconds per member, "
        "their ratio to the first recipe's, RMSE and CRPS. The recipes' networks must "
        "have been trained."
    ),
    order=120,
)
