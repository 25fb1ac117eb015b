"""`slams bench lorenz63`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, Schema, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.warmups.lorenz63_experiment import bench_lorenz63

    return bench_lorenz63


def schema() -> Schema:
    """Import the data class of the recipe, and its validator."""
    from slams.warmups.recipes import Lorenz63Config, check_lorenz63

    return Lorenz63Config, check_lorenz63


VERB = benchmark_verb(
    "bench lorenz63",
    load,
    schema=schema,
    summary="guided diffusion against a particle filter on the Lorenz (1963) system",
    description=(
        "Trains a denoiser of short windows, composes it to trajectories, guides it by "
        "observations of one coordinate, and compares with a particle filter: W1 "
        "distance, log-densities. Prints the table and writes it with a figure."
    ),
    order=200,
)
