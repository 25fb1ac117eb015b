"""Readers of public layouts: each gives one canonical dataset, whatever the file looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.schema import SourceConfig

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KINDS", "open_source"]

KINDS = ("nature_run", "noaa_psl")


def open_source(config: SourceConfig, channels: Sequence[FieldSpec]) -> xr.Dataset:
    """Opens a source lazily, checked and in canonical form (see `sources.canonical`).

    Args:
        config: Kind and path of the source, and the channels it may lack.
        channels: The channels wanted.

    Raises:
        UserError: The kind is unknown, the files are not there, or they cannot be made canonical.
    """
    if config.kind == "nature_run":
        from data_modules.sources import nature_run

        return nature_run.open_nature_run(config.path, channels, config.absent)
    if config.kind == "noaa_psl":
        from data_modules.sources import noaa_psl

        return noaa_psl.open_noaa_psl(config.path, channels, config.absent)
    raise UserError(f"data.source.kind: found {config.kind!r}, expected one of {', '.join(KINDS)}")
