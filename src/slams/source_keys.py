"""Checks of the keys that describe sources, `data.source` and `data.sources`."""

from __future__ import annotations

from slams.errors import UserError
from slams.rules import one_of
from slams.schema import DataConfig, SourceConfig

__all__ = ["KINDS", "REGRIDS", "check_sources"]

# Layouts that have a reader in `data_modules.sources`.
KINDS = ("nature_run", "noaa_psl")
REGRIDS = ("conservative", "bilinear")


def check_sources(data: DataConfig) -> None:
    """Refuses sources that contradict themselves or one another.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    if data.sources and data.source != SourceConfig():
        raise UserError(
            "key 'data.sources': found beside data.source, expected one of them; describe every "
            "source in the list"
        )
    for key, source in data.inputs:
        one_of(f"{key}.kind", source.kind, KINDS)
        one_of(f"{key}.regrid", source.regrid, REGRIDS)
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
