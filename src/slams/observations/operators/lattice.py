"""Area means of one channel over every n-th block of cells: `channel`, `block`, `gap`."""

from __future__ import annotations

from slams.observations.degradations import DegradedOperator
from slams.observations.instruments import OperatorRequest
from slams.plugins.operators import OperatorSpec

__all__ = ["SPEC"]


def _build(request: OperatorRequest) -> DegradedOperator:
    options = request.take(channel=str, block=1, gap=1)
    return DegradedOperator(
        request.grid, request.channels, options["channel"], options["block"], options["gap"]
    )


SPEC = OperatorSpec("lattice", _build, at_sites=False)
