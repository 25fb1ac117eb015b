"""Readers of public station archives: each gives one long table (`stations.reports.table`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from slams.config.schema import StationSourceConfig
from slams.errors import UserError

if TYPE_CHECKING:
    from data_modules.sources.stations.reports.table import StationReports

__all__ = ["KINDS", "open_stations"]

KINDS = ("ghcn_daily", "isd", "isd_lite", "igra2", "metar", "arm_column")


def open_stations(
    config: StationSourceConfig,
    variables: Sequence[str],
    first: np.datetime64,
    last: np.datetime64,
) -> StationReports:
    """Reads the reports of some days from a station archive.

    Args:
        config: The recipe's `observations.stations.source`.
        variables: Variables wanted, without their levels.
        first: First day.
        last: Last day, inside.

    Raises:
        UserError: The kind is unknown, or the files are not there or not of the layout.
    """
    if config.kind == "ghcn_daily":
        from data_modules.sources.stations.readers.ghcn_daily import read_ghcn_daily

        return read_ghcn_daily(
            config.path,
            config.station_list,
            variables,
            first,
            last,
            config.elements,
            config.morning,
        )
    if config.kind == "isd":
        from data_modules.sources.stations.readers.isd import read_isd

        return read_isd(config.path, variables, first, last)
    if config.kind == "isd_lite":
        from data_modules.sources.stations.readers.isd_lite import read_isd_lite

        return read_isd_lite(config.path, config.station_list, variables, first, last)
    if config.kind == "igra2":
        from data_modules.sources.stations.readers.igra2 import read_igra2

        return read_igra2(config.path, config.station_list, first, last)
    if config.kind == "metar":
        from data_modules.sources.stations.readers.metar import read_metar

        return read_metar(config.path, variables, first, last, config.elements)
    if config.kind == "arm_column":
        from data_modules.sources.stations.readers.arm_column import read_arm_column

        return read_arm_column(config.path, variables, first, last)
    raise UserError(
        f"observations.stations.source.kind: found {config.kind!r}, expected one of "
        f"{', '.join(KINDS)}"
    )
