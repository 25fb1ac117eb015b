"""Archives of station reports by name: the properties needed to check recipes, and their readers.

Each specification here describes one archive (`slams.plugins.station_sources`); `readers` has one
module per archive. A reader returns one long table (`stations.reports.table`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from slams.plugins.station_sources import STATION_SOURCES, StationSourceSpec
from slams.variables import UNITS

if TYPE_CHECKING:
    import numpy as np

    from data_modules.sources.stations.reports.table import StationReports
    from slams.config.schema import StationSourceConfig

__all__ = ["open_station_parts"]


@dataclass(frozen=True)
class _Reader:
    """Function `read_NAME` of the module `readers.NAME`, imported at the first call.

    Attributes:
        name: Name of the archive.
        suffix: End of the function's name, `_parts` for one that reads some stations at a time.
    """

    name: str
    suffix: str = ""

    def __call__(
        self,
        config: StationSourceConfig,
        variables: Sequence[str],
        first: np.datetime64,
        last: np.datetime64,
        key: str,
    ) -> Any:
        from data_modules.sources.stations.reports.request import ReportRequest

        module = import_module(f"{__name__}.readers.{self.name}")
        read = getattr(module, f"read_{self.name}{self.suffix}")
        return read(ReportRequest(config, tuple(variables), first, last, key))


_SURFACE = ("2m_temperature", "total_precipitation_24hr")

# NOAA NCEI publishes GHCN-Daily, GHCNh, IGRA 2, ISD and isd-lite; METAR is in MADIS's variables.
ARM_COLUMN = StationSourceSpec(
    "arm_column", _Reader("arm_column"), ("temperature", *_SURFACE, "outgoing_longwave_radiation")
)
GHCN_DAILY = StationSourceSpec(
    "ghcn_daily",
    _Reader("ghcn_daily"),
    _SURFACE,
    needs_station_list=True,
    read_parts=_Reader("ghcn_daily", "_parts"),
)
GHCNH = StationSourceSpec("ghcnh", _Reader("ghcnh"), _SURFACE)
IGRA2 = StationSourceSpec("igra2", _Reader("igra2"), ("temperature",))
ISD = StationSourceSpec("isd", _Reader("isd"), _SURFACE)
ISD_LITE = StationSourceSpec("isd_lite", _Reader("isd_lite"), _SURFACE, needs_station_list=True)
METAR = StationSourceSpec("metar", _Reader("metar"), _SURFACE)
REPORTS = StationSourceSpec("reports", _Reader("reports"), tuple(UNITS))


def open_station_parts(
    config: StationSourceConfig,
    variables: Sequence[str],
    first: np.datetime64,
    last: np.datetime64,
    key: str = "observations.stations.source",
) -> Iterator[StationReports]:
    """Read the reports of some days from a station archive, some stations at a time if it can be.

    A station's reports are in one part, so that whatever is done station by station gives the
    same in parts as in one table.

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
    if spec.read_parts is None:
        yield spec.read(config, variables, first, last, key)
    else:
        yield from spec.read_parts(config, variables, first, last, key)
