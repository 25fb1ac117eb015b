"""Archives of station reports by name: the properties needed to check recipes, and their readers.

Each module here describes one archive (`slams.plugins.station_sources`); readers are in
`readers`. A reader returns one long table (`stations.reports.table`).
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
        config: The recipe's section `observations.stations.source`.
        variables: Variables to read, without levels.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: The kind is unknown, or the files are missing or have another layout.
    """
    spec = STATION_SOURCES.get(config.kind, f"{key}.kind")
    return spec.read(config, variables, first, last, key)
