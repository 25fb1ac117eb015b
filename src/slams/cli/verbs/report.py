"""`slams report`."""

from __future__ import annotations

from slams.cli.kinds import Stage, stage_verb


def load() -> Stage:
    """Import the stage."""
    from slams.stages.reporting import report

    return report


VERB = stage_verb(
    "report",
    load,
    summary="make the figures and the HTML report of a finished assimilation",
    description="Writes the figures and report/index.html from the results of `slams assimilate`.",
    sections=("report",),
    order=60,
)
