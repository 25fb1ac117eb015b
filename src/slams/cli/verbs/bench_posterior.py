"""`slams bench posterior`."""

from __future__ import annotations

from slams.cli.kinds import Benchmark, benchmark_verb


def load() -> Benchmark:
    """Import the benchmark."""
    from slams.benchmarks.posterior import bench_posterior

    return bench_posterior


VERB = benchmark_verb(
    "bench posterior",
    load,
    takes="nothing",
    summary="compare every guidance and sampler with posteriors known in closed form",
    description=(
        "Samples posteriors whose mean and spread are known with every guidance and "
        "sampler, prints how far each is off, and writes the tables and a figure. Takes "
        "no recipe; one to two minutes on one thread."
    ),
    order=110,
)
