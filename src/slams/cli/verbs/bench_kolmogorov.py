"""`slams bench kolmogorov`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.warmups.kolmogorov_bench import bench_kolmogorov

    return bench_kolmogorov


def schema() -> Schema:
    """Import the data class of the recipe, and its validator."""
    from slams.warmups.recipes import KolmogorovConfig, check_kolmogorov

    return KolmogorovConfig, check_kolmogorov


VERB = benchmark_verb(
    "bench kolmogorov",
    load,
    schema=schema,
    summary="assimilate three kinds of observations of a turbulent flow",
    description=(
        "Integrates the Kolmogorov flow, trains a score network on short windows, and "
        "samples trajectories from coarse, sparse and saturating observations; prints how "
        "far the residuals are from the observation error, and writes a table and a "
        "figure. Flows and networks are reused while their settings are unchanged."
    ),
    order=190,
)
