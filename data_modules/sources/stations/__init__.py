"""Archives of station reports by name: what recipes' checks must know of each, and its reader.

Each module here describes one (`slams.plugins.station_sources`); readers lie in `readers`. What
they give is one long table (`stations.reports.table`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slams.plugins.station_sources import STATION_SOURCES

if TYPE_CHECKING:
    import numpy as np

    from data_modules.sources.stations.reports.table import StationReports
    from slams.config.schema import StationSourceConfig

__all__ = ["open_stations"]


def open_stations(
    config: StationSourceConfig,
    variables: Sequence[str],
    first: np.datetime64,
    last: np.datetime64,
    key: str = "observations.stations.source",
) -> StationReports:
    """Read the reports of some days from a station archive.

    Args:
        config: The recipe's `observations.stations.source`.
        variables: Variables wanted, without their levels.
        first: First day.
        last: Last day, inside.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: The kind is unknown, or the files are not there or not of the layout.
    """
    spec = STATION_SOURCES.get(config.kind, f"{key}.kind")
    return spec.read(config, variables, first, last, key)
