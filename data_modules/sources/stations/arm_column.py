"""ARM's variational analysis of one column: three modalities at one location."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.station_sources import StationSourceSpec

__all__ = ["SPEC"]

SPEC = StationSourceSpec(
    name="arm_column",
    read=Deferred("data_modules.sources.stations.readers.arm_column", "read_arm_column"),
    variables=(
        "temperature",
        "2m_temperature",
        "total_precipitation_24hr",
        "outgoing_longwave_radiation",
    ),
)
