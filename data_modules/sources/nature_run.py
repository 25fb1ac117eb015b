"""Nature runs written by `slams simulate`; `sample` is the embedded one."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.sources import SourceSpec

__all__ = ["SPEC"]

SPEC = SourceSpec(
    name="nature_run",
    open=Deferred("data_modules.sources.readers.nature_run", "open_nature_run"),
    expected="a nature run (Zarr), make one with `slams simulate` or use `sample`",
)
