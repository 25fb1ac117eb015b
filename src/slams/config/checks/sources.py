"""Checks of the keys that describe sources, `data.source` and `data.sources`."""

from __future__ import annotations

from slams.config.schema import DataConfig, SourceConfig, SourceDimensionsConfig
from slams.errors import UserError
from slams.plugins.sources import SOURCES, SourceSpec

__all__ = ["check_sources"]


def check_sources(data: DataConfig) -> None:
    """Refuse sources that contradict themselves or one another.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    if data.sources and data.source != SourceConfig():
        raise UserError(
            "key 'data.sources': found together with data.source, expected one of them; describe "
            "every source in the list"
        )
    for key, source in data.inputs:
        spec = SOURCES.get(source.kind, f"{key}.kind")
        _check_layout(key, source, spec)
        if data.sources and not source.channels:
            raise UserError(
                f"key '{key}.channels': found an empty list, expected the channels that "
                f"{source.path} gives"
            )
        if not data.sources and source.channels:
            raise UserError(
                f"key '{key}.channels': found {', '.join(source.channels)}, expected an empty "
                f"list; a single source gives all of data.channels"
            )
    for key, source in data.inputs[1:]:
        if source.grid not in ("native", data.inputs[0][1].grid):
            raise UserError(
                f"key '{key}.grid': found {source.grid!r}, expected nothing; the grid of the "
                f"store is named by data.sources.0.grid"
            )


def _check_layout(key: str, source: SourceConfig, spec: SourceSpec) -> None:
    if source.files and not spec.takes_files:
        raise UserError(
            f"key '{key}.files': found with kind {source.kind}, which reads what is at "
            f"{key}.path; name it there"
        )
    described = source.variables or source.dimensions != SourceDimensionsConfig()
    if described and not spec.takes_layout:
        raise UserError(
            f"key '{key}.variables': found with kind {source.kind}, whose layout is known; "
            f"describe variables and dimensions with kind cf"
        )
