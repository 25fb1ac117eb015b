"""`slams bench climate`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.benchmarks.climate import bench_climate

    return bench_climate


def schema() -> Schema:
    """Import the data class of the recipe, and its validator."""
    from slams.benchmarks.recipes import ClimateConfig, check_climate

    return ClimateConfig, check_climate


VERB = benchmark_verb(
    "bench climate",
    load,
    schema=schema,
    summary="whether a nature run drifts, and how close it is to observed climates",
    description=(
        "Averages nature runs by month and prints the trend and spread of their annual "
        "means, the difference of their segments, and the difference from observed "
        "climatologies, by level; writes the tables."
    ),
    order=170,
)
