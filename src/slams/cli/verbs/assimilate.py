"""`slams assimilate`."""

from __future__ import annotations

from slams.cli.kinds import Stage, stage_verb


def load() -> Stage:
    """Import the stage."""
    from slams.stages.assimilation import assimilate

    return assimilate


VERB = stage_verb(
    "assimilate",
    load,
    summary="analyse the test period with every method and score the analyses",
    description=(
        "Draws or reads observations, analyses every test case with every configured "
        "method, and writes results.parquet, cases.parquet, analysis.zarr and the report."
    ),
    sections=("observations", "background", "assimilation"),
    order=50,
)
