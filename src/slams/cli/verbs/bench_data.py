"""`slams bench data`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.benchmarks.stream import bench_data

    return bench_data


def schema() -> Schema:
    """Import the data class of the recipe, and its validator."""
    from slams.benchmarks.recipes import StreamBenchConfig, check_stream_bench

    return StreamBenchConfig, check_stream_bench


VERB = benchmark_verb(
    "bench data",
    load,
    schema=schema,
    takes="an optional recipe",
    summary="measure how fast windows are read from a training store",
    description=(
        "Makes stores of several grids, reads random windows from them with every reader "
        "in turn, and prints samples/s, ratios, and the plan of a quarter-degree store; "
        "writes the tables and a figure. The recipe may be omitted."
    ),
    order=160,
)
