"""Reader of reports that a user has as tables: CSV, Parquet, or a pandas DataFrame.

One row per value, with the columns of `reports.user_table`: `time`, `latitude`, `longitude`,
`variable`, `value`, and optionally `elevation`, `level`, `hours`, `station_id`, `error`, `units`
and `level_units`. It is read by the code that reads the tables of `model.analyse`; rows that this
would refuse are left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.request import ReportRequest
from data_modules.sources.stations.reports.table import StationReports
from data_modules.sources.stations.reports.user_table import read_table
from data_modules.tables.opening import open_table
from slams.config.schema import StationSourceConfig
from slams.plugins.station_sources import StationSourceSpec
from slams.variables import UNITS

__all__ = ["frame_source", "read_reports"]

_CONVENTIONS = {
    "day": "UTC; instants, and periods that end at the time of the report",
    "errors": "those of the reports where they are stated",
}


def read_reports(request: ReportRequest) -> StationReports:
    """Read tables.

    Args:
        request: What is requested; `config.path` is a file (`.csv` or `.parquet`), a directory of
            them, or a pattern.

    Raises:
        UserError: A file is not such a table, or too many of its rows cannot be used.
    """
    files = request.files(".csv", ".parquet")
    tables = [open_table(file, f"{request.key}.path") for file in files]
    return _read(pd.concat(tables, ignore_index=True), request)


def frame_source(name: str, frame: pd.DataFrame) -> StationSourceSpec:
    """Return a source of reports that are in memory, for a plug-in of one's own.

    Args:
        name: Its name in recipes, `observations.stations.source.kind`.
        frame: A table of reports.
    """

    def read(
        config: StationSourceConfig,
        variables: Sequence[str],
        first: np.datetime64,
        last: np.datetime64,
        key: str,
    ) -> StationReports:
        return _read(frame, ReportRequest(config, tuple(variables), first, last, key))

    return StationSourceSpec(name, read, tuple(UNITS))


def _read(table: pd.DataFrame, request: ReportRequest) -> StationReports:
    where = f"station archive {request.config.path}"
    found = read_table(table, where, request.left_out)
    request.repairs.update(found.repairs)
    rows = found.table[found.table["variable"].isin(request.variables)]
    return request.reports([request.inside(rows)], _CONVENTIONS)
