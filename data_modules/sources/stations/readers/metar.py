"""Reader of METAR reports in Parquet, in MADIS's variables (like WeatherBench-X's test data).

One row per report: `stationName`, `latitude`, `longitude`, `elevation` (m), `timeObs` (UTC),
`temperature` (K), `precip1Hour` .. `precip24Hour` (m), each with a column `...DD` of MADIS's
quality letter. Accepted are Z (not checked), C, S, V (passed level 1, 1-2, 1-3) and G (good);
rejected are X (failed level 1), Q (failed level 2 or 3), B (bad, set manually), K and T.

`timeObs` and `timeReceived` may be dates with or without a time zone, or numbers since 1970-01-01
(`reports.columns`); -9999 is missing. Of several reports of one minute the value that was received
last counts: a correction replaces what it corrects, and leaves what it does not repeat.

Source: NOAA MADIS, quality control descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet

from data_modules.sources.files.opening import refused
from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.sources.stations.reports.columns import no_numbers, numbers, utc_times
from data_modules.sources.stations.reports.request import ReportRequest
from data_modules.sources.stations.reports.table import StationReports
from slams.errors import UserError

__all__ = ["read_metar"]

_NEEDED = ("stationName", "latitude", "longitude", "elevation", "timeObs")
# Hours that the values of a column cover.
_HOURS = {"temperature": 0.0, **{f"precip{hours}Hour": float(hours) for hours in (1, 3, 6, 24)}}
_VARIABLES = {
    name: "total_precipitation_24hr" if hours else "2m_temperature"
    for name, hours in _HOURS.items()
}
_GOOD = ("Z", "C", "S", "V", "G")
# Reports that correct one another have these in common.
_REPORT = ["stationName", "minute"]


def read_metar(request: ReportRequest) -> StationReports:
    """Read Parquet files.

    Args:
        request: What is requested; `config.path` is a file, a directory of them, or a pattern,
            `config.elements` are the columns read, by default all that provide a requested
            variable.

    Raises:
        UserError: A file is not a Parquet file, or lacks a column.
    """
    columns = request.elements(_VARIABLES, "METAR")
    if not columns:
        raise UserError(
            f"{request.key}.kind: METAR reports provide none of {', '.join(request.variables)}; "
            f"expected 2m_temperature or total_precipitation_24hr under "
            f"observations.stations.variables"
        )
    parts = [_read(file, columns) for file in request.files(".parquet")]
    rows = _normalised(pd.concat(parts, ignore_index=True), columns, request.left_out)
    rows = request.left_out.keep(
        rows,
        rows["timeObs"].notna(),
        "time unreadable",
        lambda row: f"a report of {row['stationName']} has no timeObs",
    )
    rows = request.inside(rows, "timeObs")
    if "timeReceived" in rows:
        rows = rows.sort_values([*_REPORT, "timeReceived"], kind="stable", na_position="first")
        earlier = int(rows.duplicated(_REPORT).sum())
        request.repairs["reports corrected by a later one"] = earlier
    if "temperature" in columns:
        missing = int(rows["temperature"].isna().sum())
        request.repairs["missing temperatures left out"] = missing
    return request.reports(
        [_table(_latest(rows[rows[column].notna()]), column) for column in columns],
        {
            "day": "UTC; instants, and periods that end at the time of the report",
            "flags": f"MADIS letters other than {', '.join(_GOOD)} reject",
        },
    )


def _normalised(rows: pd.DataFrame, columns: Sequence[str], left_out: Accounting) -> pd.DataFrame:
    """Convert times and numbers, and add the name of the station and the minute of the report.

    Values that are no numbers are missing, and counted.
    """
    for name in ("timeObs", "timeReceived"):
        if name in rows:
            rows[name] = utc_times(rows[name])
    for name in columns:
        unread = no_numbers(rows[name])
        if unread.any():
            row = rows[unread].iloc[0]
            example = f"{row['stationName']} at {row['timeObs']} has {name} {row[name]!r}"
            left_out.add("value no number", int(unread.sum()), example)
    for name in ("latitude", "longitude", "elevation", *columns):
        rows[name] = numbers(rows[name])
    return rows.assign(
        stationName=rows["stationName"].astype(str).str.strip(),
        minute=rows["timeObs"].dt.floor("min"),
    )


def _latest(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the value of each minute that was received last."""
    return rows.drop_duplicates(_REPORT, keep="last") if "timeReceived" in rows else rows


def _table(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    letter = rows.get(column + "DD", pd.Series("Z", index=rows.index)).astype(str)
    good = letter.isin(_GOOD)
    value = rows[column]
    return pd.DataFrame(
        {
            "station_id": rows["stationName"],
            "latitude": rows["latitude"].round(4),
            "longitude": rows["longitude"].round(4),
            "elevation": rows["elevation"],
            "time": rows["timeObs"],
            "hours": _HOURS[column],
            "variable": _VARIABLES[column],
            "value": value * 1000.0 if _HOURS[column] else value,
            "accepted": good,
            "reason": ("flag: letter " + letter).where(~good, ""),
        }
    )


def _read(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read the required columns of one file, and those of the optional ones that it has."""
    wrong = "cannot be read as Parquet, it is truncated or has another format"
    with refused(f"station archive {file}: {wrong}"):
        names = pyarrow.parquet.read_schema(file).names
    missing = [name for name in (*_NEEDED, *columns) if name not in names]
    if missing:
        raise UserError(
            f"station archive {file}: column {', '.join(missing)} is missing, expected METAR "
            f"reports in MADIS's variables; found {', '.join(names[:8])}..."
        )
    wanted = [*_NEEDED, "timeReceived", *columns, *(f"{c}DD" for c in columns)]
    table = pyarrow.parquet.read_table(file, columns=[n for n in wanted if n in names])
    return table.to_pandas(ignore_metadata=True)
