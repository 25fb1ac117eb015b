"""The Integrated Surface Database (NOAA NCEI): temperature near the surface, precipitation."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.station_sources import StationSourceSpec

__all__ = ["SPEC"]

SPEC = StationSourceSpec(
    name="isd",
    read=Deferred("data_modules.sources.stations.readers.isd", "read_isd"),
    variables=("2m_temperature", "total_precipitation_24hr"),
)
