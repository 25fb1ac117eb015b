"""`slams bench train`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.benchmarks.train_cost import bench_train

    return bench_train


def schema() -> Schema:
    """Import the data class of the recipe, and its validator."""
    from slams.benchmarks.recipes import CostConfig, check_cost

    return CostConfig, check_cost


VERB = benchmark_verb(
    "bench train",
    load,
    schema=schema,
    summary="cost per training step of several recipes",
    description=(
        "Steps the networks of each recipe in turn on a batch of its own data, and prints "
        "samples per second and their ratio to the first recipe's."
    ),
    order=130,
)
