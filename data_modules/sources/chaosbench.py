"""ChaosBench's ERA5."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.sources import SourceSpec

__all__ = ["SPEC"]

SPEC = SourceSpec(
    name="chaosbench",
    open=Deferred("data_modules.sources.readers.chaosbench", "open_chaosbench"),
    expected="a directory with one Zarr store per day",
)
