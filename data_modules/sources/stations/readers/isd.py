"""Reader of the Integrated Surface Database as CSV (NOAA NCEI), one file per station and year.

The header names the columns; those read are STATION, DATE (UTC), LATITUDE, LONGITUDE, ELEVATION
(m, 9999 unknown), REPORT_TYPE, TMP and AA1. The last two have comma-separated parts:

    TMP  "+0123,1"       0.1 degrees Celsius (+9999 missing), quality
    AA1  "06,0012,9,5"   hours (99 missing), 0.1 mm (9999 missing), condition (2 a trace), quality

Quality 2 and 6 are suspect, 3 and 7 erroneous: all are rejected. A trace is read as 0 mm, since it
is below the resolution of gauges. Summaries of a day or month (SOD, SOM) repeat other rows and are
left out; of several reports of one minute a synoptic one (FM-12) takes precedence over a METAR
(FM-15), and that over any other.

Source: NCEI, Federal Climate Complex data documentation for integrated surface data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.request import ReportRequest, keep_times, read_csv
from data_modules.sources.stations.reports.table import StationReports

__all__ = ["read_isd"]

_NEEDED = ("STATION", "DATE", "LATITUDE", "LONGITUDE", "ELEVATION", "TMP")
_BAD = {"2": "suspect", "3": "erroneous", "6": "suspect", "7": "erroneous"}
_RANK = {"FM-12": 0, "FM-15": 1}
_TIME = ("%Y-%m-%dT%H:%M:%S", "YYYY-MM-DDTHH:MM:SS")
# Pattern and example of the codes.
_CODES = {
    "TMP": (r"[+-]\d{4},\w", "+0123,1"),
    "AA1": (r"\d{2},\d{4},\w,\w", "06,0012,9,5"),
}


def read_isd(request: ReportRequest) -> StationReports:
    """Read files by station and year.

    Args:
        request: What is requested; `config.path` is a file, a directory of them, or a pattern.

    Raises:
        UserError: A file has another layout, or too many codes, times or positions are invalid.
    """
    parts = []
    for file in request.files(".csv", ".csv.gz"):
        rows = _rows(file, request)
        if "2m_temperature" in request.variables:
            parts.append(_temperature(rows, file, request))
        if "total_precipitation_24hr" in request.variables:
            if "AA1" in rows:
                parts.append(_precipitation(rows[rows["AA1"].str.strip().ne("")], file, request))
            else:
                request.repairs["files without precipitation (AA1)"] += 1
    return request.reports(
        parts,
        {
            "day": "UTC; instants, and periods that end at the time of the report",
            "flags": "quality codes 2 and 6 (suspect), 3 and 7 (erroneous) reject",
            "trace": "0 mm",
        },
    )


def _rows(file: Path, request: ReportRequest) -> pd.DataFrame:
    """Read the rows of some days, sorted by time and precedence of their kind."""
    expected = f"ISD as CSV with {', '.join(_NEEDED)}[, REPORT_TYPE, AA1]"
    rows = read_csv(file, f"{request.key}.path", _NEEDED, expected)
    rows = keep_times(rows, rows["DATE"], _TIME, file, request.left_out)
    rows = request.inside(rows)
    kind = rows.get("REPORT_TYPE", pd.Series("", index=rows.index)).str.strip()
    summary = kind.isin(["SOD", "SOM"])
    request.repairs["summaries of a day or month left out"] += int(summary.sum())
    rows = rows.assign(rank=kind.map(_RANK).fillna(2))[~summary]
    rows = rows.sort_values(["time", "rank"], kind="stable", ignore_index=True)
    for name in ("LATITUDE", "LONGITUDE"):
        rows = request.left_out.keep(
            rows,
            pd.to_numeric(rows[name], errors="coerce").notna(),
            "position missing or outside the globe",
            lambda row, name=name: f"{file}: {name} is {row[name]!r}, expected degrees",
        )
    rows = rows.assign(
        **{
            name: pd.to_numeric(rows[name], errors="coerce")
            for name in ("LATITUDE", "LONGITUDE", "ELEVATION")
        }
    )
    rows["ELEVATION"] = rows["ELEVATION"].where(rows["ELEVATION"].between(-500, 9000))
    return rows


def _temperature(rows: pd.DataFrame, file: Path, request: ReportRequest) -> pd.DataFrame:
    rows, codes = _codes(rows, "TMP", file, request)
    value = codes[0].astype(np.int64)
    missing = value.eq(9999)
    request.repairs["missing temperatures (+9999) left out"] += int(missing.sum())
    table = _table(rows, codes[1], "2m_temperature").assign(value=value / 10.0 + 273.15)
    return _first_of_minute(table[~missing], request)


def _precipitation(rows: pd.DataFrame, file: Path, request: ReportRequest) -> pd.DataFrame:
    rows, codes = _codes(rows, "AA1", file, request)
    hours, depth = codes[0].astype(np.int64), codes[1].astype(np.int64)
    missing = depth.eq(9999) | hours.isin([0, 99])
    trace = codes[2].eq("2") & ~missing
    request.repairs["missing precipitation (9999) left out"] += int(missing.sum())
    request.repairs["traces of precipitation set to 0 mm"] += int(trace.sum())
    table = _table(rows, codes[3], "total_precipitation_24hr").assign(
        hours=hours.astype(float), value=np.where(trace, 0.0, depth / 10.0)
    )
    return _first_of_minute(table[~missing], request)


def _table(rows: pd.DataFrame, quality: pd.Series, variable: str) -> pd.DataFrame:
    word = quality.map(_BAD)
    return pd.DataFrame(
        {
            "station_id": rows["STATION"].str.strip(),
            "latitude": rows["LATITUDE"],
            "longitude": rows["LONGITUDE"],
            "elevation": rows["ELEVATION"],
            "time": rows["time"],
            "hours": 0.0,
            "variable": variable,
            "accepted": word.isna(),
            "reason": ("flag: quality " + quality + " " + word).where(word.notna(), ""),
        }
    )


def _first_of_minute(table: pd.DataFrame, request: ReportRequest) -> pd.DataFrame:
    """Keep the first accepted one of several reports of one minute."""
    accepted = table[table["accepted"]]
    later = accepted.index[accepted.duplicated(["station_id", "time", "hours"])]
    request.repairs["further reports of the same minute dropped"] += len(later)
    return table.drop(later)


def _codes(
    rows: pd.DataFrame, name: str, file: Path, request: ReportRequest
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows with valid codes in a column, and the parts of the codes."""
    pattern, example = _CODES[name]
    rows = request.left_out.keep(
        rows,
        rows[name].str.strip().str.fullmatch(pattern),
        f"{name} that is no code",
        lambda row: (
            f"{file}: {name} of {row['time']:%Y-%m-%dT%H:%M} is {row[name].strip()!r}, expected a "
            f"code such as {example}"
        ),
    )
    parts = rows[name].str.strip().str.split(",", expand=True)
    return rows, parts.reindex(columns=range(example.count(",") + 1)).astype(str)
