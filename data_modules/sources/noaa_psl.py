"""Temperature, winds, humidity, outgoing longwave radiation and precipitation of NOAA PSL."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.sources import SourceSpec

__all__ = ["SPEC"]

SPEC = SourceSpec(
    name="noaa_psl",
    open=Deferred("data_modules.sources.readers.noaa_psl", "open_noaa_psl"),
    expected="a NetCDF file of NOAA PSL ({key}.origin states its origin)",
    takes_files=True,
)
