"""GHCN-Daily by year (NOAA NCEI): temperature near the surface, precipitation."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.station_sources import StationSourceSpec

__all__ = ["SPEC"]

SPEC = StationSourceSpec(
    name="ghcn_daily",
    read=Deferred("data_modules.sources.stations.readers.ghcn_daily", "read_ghcn_daily"),
    variables=("2m_temperature", "total_precipitation_24hr"),
    needs_station_list=True,
)
