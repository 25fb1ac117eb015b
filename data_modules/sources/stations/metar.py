"""METAR in MADIS's variables: temperature near the surface, precipitation."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.station_sources import StationSourceSpec

__all__ = ["SPEC"]

SPEC = StationSourceSpec(
    name="metar",
    read=Deferred("data_modules.sources.stations.readers.metar", "read_metar"),
    variables=("2m_temperature", "total_precipitation_24hr"),
)
