"""NOAA CPC's global unified gauge analysis of precipitation."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.sources import SourceSpec

__all__ = ["SPEC"]

SPEC = SourceSpec(
    name="cpc_gauge",
    open=Deferred("data_modules.sources.readers.cpc_gauge", "open_cpc_gauge"),
    expected="NetCDF files of the CPC gauge analysis",
    takes_files=True,
    # There are no gauges over the ocean.
    gaps=("total_precipitation_24hr",),
)
