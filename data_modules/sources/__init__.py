"""Sources of fields by name: the properties needed to check recipes, and their readers.

Each module here describes one source (`slams.plugins.sources`); readers are in `readers`. A reader
returns a canonical dataset, whatever the layout of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slams.plugins.sources import SOURCES

if TYPE_CHECKING:
    import xarray as xr

    from slams.config.schema import SourceConfig
    from slams.fields import FieldSpec

__all__ = ["open_source"]


def open_source(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None = None,
    key: str = "data.source",
) -> xr.Dataset:
    """Open a source lazily, checked and in canonical form (see `sources.canonical`).

    Args:
        config: The source's section of the recipe.
        channels: The channels to read.
        period: First and last day to read, days since 1970-01-01; all days by default.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: The kind is unknown, the files are missing, or they cannot be made canonical.
    """
    return SOURCES.get(config.kind, f"{key}.kind").open(config, channels, period, key)
