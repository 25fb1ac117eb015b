"""IGRA 2 (NOAA NCEI): temperature of radiosoundings."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.station_sources import StationSourceSpec

__all__ = ["SPEC"]

SPEC = StationSourceSpec(
    name="igra2",
    read=Deferred("data_modules.sources.stations.readers.igra2", "read_igra2"),
    variables=("temperature",),
)
