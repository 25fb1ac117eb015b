"""Sources of fields by name: what recipes' checks must know of each, and its reader.

Each module here describes one (`slams.plugins.sources`); readers lie in `readers`. What they give
is one canonical dataset, whatever the file looks like.
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
        config: Kind and path of the source, and the channels it may lack.
        channels: The channels wanted.
        period: First and last day wanted, days since 1970-01-01; all days by default.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: The kind is unknown, the files are not there, or they cannot be made canonical.
    """
    return SOURCES.get(config.kind, f"{key}.kind").open(config, channels, period, key)
