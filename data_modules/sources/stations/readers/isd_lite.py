"""Reader of isd-lite (NOAA NCEI): hourly, fixed fields, one file per station and year.

A line has 12 whole numbers: year, month, day, hour (UTC), air temperature, dew point (0.1
degrees Celsius), sea level pressure, wind direction and speed, sky cover, precipitation of 1 and
of 6 hours (0.1 mm); -9999 is missing, precipitation of -1 is a trace. The name of a file is
`USAF-WBAN-YEAR[.gz]`; positions are in `isd-history.csv`.

isd-lite contains only values that passed the quality control of ISD, so there are no flags.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.request import ReportRequest, open_text, parse_times
from data_modules.sources.stations.reports.station_list import (
    check_positions,
    locate,
    read_isd_history,
)
from data_modules.sources.stations.reports.table import StationReports
from slams.errors import UserError

__all__ = ["read_isd_lite"]

_FIELDS = 12
# Variable, position of its field, and hours that a value covers.
_VALUES = (
    ("2m_temperature", 4, 0.0),
    ("total_precipitation_24hr", 10, 1.0),
    ("total_precipitation_24hr", 11, 6.0),
)
_TRACES = "traces of precipitation set to 0 mm"


def read_isd_lite(request: ReportRequest) -> StationReports:
    """Read files by station and year.

    Args:
        request: What is requested; `config.path` is a file, a directory of them, or a pattern,
            `config.station_list` is `isd-history.csv`.

    Raises:
        UserError: A file has another layout, a station is not in the list, or has impossible
            coordinates there.
    """
    listed = request.config.station_list
    stations = read_isd_history(listed, request.key)
    parts = []
    for file in request.files(""):
        name = "-".join(file.name.split(".")[0].split("-")[:2])
        expected = "a file named USAF-WBAN-YEAR and "
        locate(pd.Series([name]), stations, listed, file, expected)
        check_positions(stations.loc[[name]], listed, request.key)
        rows = request.inside(_rows(file, request.key))
        for variable, field, hours in _VALUES:
            if variable not in request.variables:
                continue
            there = rows[rows[field] != -9999]
            value, trace = there[field], (there[field] == -1) & (hours > 0)
            request.repairs[_TRACES] += int(trace.sum())
            kelvin = 273.15 if hours == 0 else 0.0
            table = pd.DataFrame({"time": there["time"], "hours": hours, "variable": variable})
            table["value"] = np.where(trace, 0.0, value / 10) + kelvin
            parts.append(table.assign(station_id=name, **stations.loc[name]))
    return request.reports(
        parts, {"day": "UTC; instants, and periods that end at the hour", "trace": "0 mm"}
    )


def _rows(file: Path, key: str) -> pd.DataFrame:
    """Read the lines as whole numbers, columns 0 to 11, and the column `time`."""
    rows, dates = [], []
    with open_text(file, f"{key}.path") as text:
        for number, line in enumerate(text, start=1):
            fields = line.split()
            if not fields:
                continue
            try:
                row = [int(f) for f in fields]
            except ValueError:
                row = []
            if len(row) != _FIELDS:
                raise UserError(
                    f"station archive {file}: line {number} is {line.rstrip()[:50]!r}, expected "
                    f"{_FIELDS} whole numbers"
                )
            rows.append(row)
            dates.append(" ".join(fields[:4]))
    date = pd.Series(dates, name="date", dtype=str)
    time = parse_times(date, "%Y %m %d %H", file, "year, month, day and hour")
    return pd.DataFrame(rows, columns=range(_FIELDS), dtype=np.int64).assign(time=time)
