"""One channel at points, interpolated: option `channel`."""

from __future__ import annotations

from slams.observations.instruments import OperatorRequest
from slams.observations.stations import StationOperator
from slams.plugins.operators import OperatorSpec

__all__ = ["SPEC"]


def _build(request: OperatorRequest) -> StationOperator:
    options = request.take(channel=str)
    return StationOperator(
        request.grid, request.channels, options["channel"], request.latitude, request.longitude
    )


SPEC = OperatorSpec("points", _build)
