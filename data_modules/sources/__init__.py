"""Readers of public layouts: each gives one canonical dataset, whatever the file looks like."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from slams.config.checks.sources import KINDS
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KINDS", "open_source"]


def open_source(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None = None,
) -> xr.Dataset:
    """Opens a source lazily, checked and in canonical form (see `sources.canonical`).

    Args:
        config: Kind and path of the source, and the channels it may lack.
        channels: The channels wanted.
        period: First and last day wanted, days since 1970-01-01; all days by default.

    Raises:
        UserError: The kind is unknown, the files are not there, or they cannot be made canonical.
    """
    if config.kind not in KINDS:
        raise UserError(
            f"data.source.kind: found {config.kind!r}, expected one of {', '.join(KINDS)}"
        )
    reader = getattr(
        import_module(f"data_modules.sources.readers.{config.kind}"), f"open_{config.kind}"
    )
    return reader(config, channels, period)
