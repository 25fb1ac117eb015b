"""`slams bench prepare`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.benchmarks.preparation import bench_preparation

    return bench_preparation


def schema() -> Schema:
    """Import the data class of the recipe, and its validator."""
    from slams.benchmarks.preparation_recipe import PreparationBenchConfig, check_preparation_bench

    return PreparationBenchConfig, check_preparation_bench


VERB = benchmark_verb(
    "bench prepare",
    load,
    schema=schema,
    summary="prepare a source larger than memory, killed several times",
    description=(
        "Writes a synthetic source, prepares it uninterrupted and killed several times "
        "(SIGKILL), and compares the stores byte for byte; prints time, throughput and "
        "the largest resident memory of every run."
    ),
    order=150,
)
