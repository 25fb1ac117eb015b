"""`slams simulate`."""

from __future__ import annotations

from slams.cli.kinds import Stage, stage_verb


def load() -> Stage:
    """Import the stage."""
    from slams.stages.sources import simulate

    return simulate


VERB = stage_verb(
    "simulate",
    load,
    summary="make a nature run with a general circulation model (extra `simulate`)",
    description=(
        "Runs the general circulation model jcm and writes daily means, or instants every "
        "6 hours, as a CF Zarr store. A simulation that was killed continues from the "
        "last piece that is finished."
    ),
    sections=("simulate",),
    order=10,
)
