"""Any files that follow the CF conventions."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.sources import SourceSpec

__all__ = ["SPEC"]

SPEC = SourceSpec(
    name="cf",
    open=Deferred("data_modules.sources.readers.cf", "open_cf"),
    expected="a NetCDF file or a Zarr store",
    takes_files=True,
    takes_layout=True,
)
