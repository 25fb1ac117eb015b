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

from data_modules.sources.stations.reports.request import ReportRequest, keep_times, open_text
from data_modules.sources.stations.reports.station_list import locate, read_isd_history
from data_modules.sources.stations.reports.table import StationReports

__all__ = ["read_isd_lite"]

_FIELDS = 12
# Variable, position of its field, and hours that a value covers.
_VALUES = (
    ("2m_temperature", 4, 0.0),
    ("total_precipitation_24hr", 10, 1.0),
    ("total_precipitation_24hr", 11, 6.0),
)
_TIME = ("%Y %m %d %H", "year, month, day and hour")
_TRACES = "traces of precipitation set to 0 mm"


def read_isd_lite(request: ReportRequest) -> StationReports:
    """Read files by station and year.

    Args:
        request: What is requested; `config.path` is a file, a directory of them, or a pattern,
            `config.station_list` is `isd-history.csv`.

    Raises:
        UserError: Files have another layout, or too many stations are not in the list, or have
            impossible coordinates there.
    """
    listed = request.config.station_list
    stations = read_isd_history(listed, request.key)
    parts = []
    for file in request.files(""):
        name = "-".join(file.name.split(".")[0].split("-")[:2])
        rows = request.inside(_rows(file, request))
        for variable, field, hours in _VALUES:
            if variable not in request.variables:
                continue
            there = rows[rows[field] != -9999]
            value, trace = there[field], (there[field] == -1) & (hours > 0)
            request.repairs[_TRACES] += int(trace.sum())
            kelvin = 273.15 if hours == 0 else 0.0
            table = pd.DataFrame({"time": there["time"], "hours": hours, "variable": variable})
            table["value"] = np.where(trace, 0.0, value / 10) + kelvin
            parts.append(table.assign(station_id=name))
    expected = "a file named USAF-WBAN-YEAR and "
    parts = [pd.concat(parts, ignore_index=True)] if parts else []
    return request.reports(
        [locate(part, stations, listed, request.left_out, expected=expected) for part in parts],
        {"day": "UTC; instants, and periods that end at the hour", "trace": "0 mm"},
        stations,
    )


def _rows(file: Path, request: ReportRequest) -> pd.DataFrame:
    """Read the lines as whole numbers, columns 0 to 11, and the column `time`."""
    rows, dates = [], []
    with open_text(file, f"{request.key}.path") as text:
        for number, line in enumerate(text, start=1):
            fields = line.split()
            if not fields:
                continue
            try:
                row = [int(f) for f in fields]
            except ValueError:
                row = []
            if len(row) != _FIELDS:
                found = f"{file}: line {number} is {line.rstrip()[:50]!r}"
                expected = f"expected {_FIELDS} whole numbers"
                request.left_out.add("line of another layout", 1, f"{found}, {expected}")
                continue
            rows.append(row)
            dates.append(" ".join(fields[:4]))
    date = pd.Series(dates, name="date", dtype=str)
    table = pd.DataFrame(rows, columns=range(_FIELDS), dtype=np.int64)
    return keep_times(table, date, _TIME, file, request.left_out)
