"""Days with observations but without fields."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.sources import SourceSpec

__all__ = ["SPEC"]

SPEC = SourceSpec(
    name="no_fields",
    open=Deferred("data_modules.sources.readers.no_fields", "open_no_fields"),
    expected="the first and the last day, such as 2020-01-01/2020-01-31",
    has_files=False,
)
