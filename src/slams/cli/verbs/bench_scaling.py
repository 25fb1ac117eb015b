"""`slams bench scaling`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.benchmarks.scaling import bench_scaling

    return bench_scaling


def schema() -> Schema:
    """Import the data class of the recipe, and its validator."""
    from slams.benchmarks.recipes import CostConfig, check_cost

    return CostConfig, check_cost


VERB = benchmark_verb(
    "bench scaling",
    load,
    schema=schema,
    summary=(
        "samples per second against processes, and seconds per member against its parameters"
    ),
    description=(
        "Trains the first recipe's score model on several numbers of processes, and times "
        "its sampler against steps and members and its denoiser against window and grid."
    ),
    order=140,
)
