"""ARCO-ERA5's analysis-ready store."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.sources import SourceSpec

__all__ = ["SPEC"]

SPEC = SourceSpec(
    name="arco_era5",
    open=Deferred("data_modules.sources.readers.arco_era5", "open_arco_era5"),
    expected="an ARCO-ERA5 store (Zarr) or its address",
)
