"""isd-lite (NOAA NCEI): hourly temperature near the surface, precipitation."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.station_sources import StationSourceSpec

__all__ = ["SPEC"]

SPEC = StationSourceSpec(
    name="isd_lite",
    read=Deferred("data_modules.sources.stations.readers.isd_lite", "read_isd_lite"),
    variables=("2m_temperature", "total_precipitation_24hr"),
    needs_station_list=True,
)
