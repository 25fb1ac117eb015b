"""ERA5 and analyses of WeatherBench2."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.sources import SourceSpec

__all__ = ["SPEC"]

SPEC = SourceSpec(
    name="weatherbench2",
    open=Deferred("data_modules.sources.readers.weatherbench2", "open_weatherbench2"),
    expected="a WeatherBench2 store (Zarr) or its address",
)
