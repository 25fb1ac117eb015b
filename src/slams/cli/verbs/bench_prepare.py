"""`slams bench prepare`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.benchmarks.preparation import bench_preparation

    return bench_preparation


def schema() -> Schema:
    """Import the data class of the recipe; it needs no check but the rules of its keys."""
    from slams.benchmarks.recipes import PreparationBenchConfig
    from slams.plugins.keys import check_keys

    return PreparationBenchConfig, check_keys


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
