"""The registry of archives of station reports: `observations.stations.source.kind`.

A built-in archive is a specification in `data_modules.sources.stations` and a reader that is
imported when the archive is read; see `slams.plugins.sources` for the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from slams.plugins.registry import Registry

__all__ = ["STATION_SOURCES", "ReadReports", "StationSourceSpec"]


class ReadReports(Protocol):
    """Function that reads the reports of some days from an archive."""

    def __call__(
        self,
        config: Any,
        variables: Sequence[str],
        first: Any,
        last: Any,
        key: str,
        /,
    ) -> Any:
        """Read the archive.

        Args:
            config: Its section of the recipe, a `slams.config.schema.StationSourceConfig`.
            variables: Requested variables, without their levels.
            first: First day, `numpy.datetime64`.
            last: Last day, inclusive.
            key: Dotted key of the archive in the recipe, for messages:
                `observations.stations.source`.

        Returns:
            A `data_modules.sources.stations.reports.table.StationReports`.

        Raises:
            UserError: The files do not exist, or do not have this layout.
        """
        ...


@dataclass(frozen=True)
class StationSourceSpec:
    """Specification of an archive of station reports.

    Attributes:
        name: Name in recipes, `observations.stations.source.kind`.
        read: Function that reads it.
        variables: Variables that it reports, as in `data.channels` without their levels.
        needs_station_list: Whether the positions are in a separate list, which the recipe must
            name under `station_list`.
        read_parts: Function that reads it in parts, for archives that are larger than memory: it
            returns an iterator over `StationReports`, each of all reports of some stations; by
            default `read` is used.
    """

    name: str
    read: ReadReports
    variables: tuple[str, ...]
    needs_station_list: bool = False
    read_parts: ReadReports | None = None


STATION_SOURCES = Registry(
    "source of station reports",
    StationSourceSpec,
    "slams.station_sources",
    "data_modules.sources.stations",
)
