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

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.files import archive_files, open_text
from data_modules.sources.stations.reports.table import StationReports, station_reports
from slams.config.schema import StationSourceConfig
from slams.errors import UserError

__all__ = ["read_isd"]

_NEEDED = ("STATION", "DATE", "LATITUDE", "LONGITUDE", "ELEVATION", "TMP")
_BAD = {"2": "suspect", "3": "erroneous", "6": "suspect", "7": "erroneous"}
_RANK = {"FM-12": 0, "FM-15": 1}
_CODES = {"TMP": r"[+-]\d{4},\w", "AA1": r"\d{2},\d{4},\w,\w"}


def read_isd(
    config: StationSourceConfig,
    variables: Sequence[str],
    first: np.datetime64,
    last: np.datetime64,
    key: str,
) -> StationReports:
    """Read files by station and year.

    Args:
        config: The archive's section of the recipe; `path` is a file, a directory of them, or a
            pattern.
        variables: Variables to read.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: A file has another layout, or a code is invalid.
    """
    repairs: dict[str, int] = {}
    parts = []
    for file in archive_files(config.path, (".csv", ".csv.gz"), key):
        rows = _rows(file, first, last, key, repairs)
        if "2m_temperature" in variables:
            parts.append(_temperature(rows, file, repairs))
        if "total_precipitation_24hr" in variables and "AA1" in rows:
            parts.append(_precipitation(rows, file, repairs))
    return station_reports(
        pd.concat(parts, ignore_index=True),
        config.path,
        key,
        {
            "day": "UTC; instants, and periods that end at the time of the report",
            "flags": "quality codes 2 and 6 (suspect), 3 and 7 (erroneous) reject",
            "trace": "0 mm",
        },
        repairs,
    )


def _rows(
    file: Path, first: np.datetime64, last: np.datetime64, key: str, repairs: dict[str, int]
) -> pd.DataFrame:
    """Read the rows of some days, sorted by time and precedence of their kind."""
    with open_text(file, f"{key}.path") as text:
        try:
            rows = pd.read_csv(text, dtype=str, keep_default_na=False, skipinitialspace=True)
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise UserError(f"station archive {file}: cannot be read as CSV ({error})") from None
    rows.columns = [str(name).strip() for name in rows.columns]
    missing = [name for name in _NEEDED if name not in rows]
    if missing:
        raise UserError(
            f"station archive {file}: the header lacks {', '.join(missing)}, expected ISD as CSV "
            f"with {', '.join(_NEEDED)}[, REPORT_TYPE, AA1]"
        )
    time = pd.to_datetime(rows["DATE"], format="%Y-%m-%dT%H:%M:%S", errors="coerce")
    if time.isna().any():
        found = rows.loc[time.isna(), "DATE"].iloc[0]
        raise UserError(
            f"station archive {file}: DATE {found!r} is not a time, expected YYYY-MM-DDTHH:MM:SS"
        )
    rows = rows.assign(time=time)
    # Periods that end early on the following day may belong to the last one.
    rows = rows[rows["time"].between(first, last + np.timedelta64(2, "D"), inclusive="left")]
    kind = rows.get("REPORT_TYPE", pd.Series("", index=rows.index)).str.strip()
    summary = kind.isin(["SOD", "SOM"])
    _count(repairs, "summaries of a day or month left out", int(summary.sum()))
    rows, kind = rows[~summary], kind[~summary]
    rows = rows.assign(rank=kind.map(_RANK).fillna(2)).sort_values(
        ["time", "rank"], kind="stable", ignore_index=True
    )
    for name in ("LATITUDE", "LONGITUDE", "ELEVATION"):
        number = pd.to_numeric(rows[name], errors="coerce")
        if name != "ELEVATION" and number.isna().any():
            found = rows.loc[number.isna(), name].iloc[0]
            raise UserError(f"station archive {file}: {name} is {found!r}, expected degrees")
        rows[name] = number
    rows["ELEVATION"] = rows["ELEVATION"].where(rows["ELEVATION"].between(-500, 9000))
    return rows


def _temperature(rows: pd.DataFrame, file: Path, repairs: dict[str, int]) -> pd.DataFrame:
    rows = rows.assign(code=_codes(rows, "TMP", file))
    value = rows["code"].str[:5].astype(np.int64)
    missing = value.eq(9999)
    _count(repairs, "missing temperatures (+9999) left out", int(missing.sum()))
    table = _table(rows, rows["code"].str[-1])
    table["variable"], table["value"] = "2m_temperature", value / 10.0 + 273.15
    return _first_of_minute(table[~missing], repairs)


def _precipitation(rows: pd.DataFrame, file: Path, repairs: dict[str, int]) -> pd.DataFrame:
    rows = rows[rows["AA1"].str.strip().ne("")]
    if rows.empty:
        return pd.DataFrame()
    codes = _codes(rows, "AA1", file).str.split(",", expand=True).reindex(columns=range(4))
    hours, depth = codes[0].astype(np.int64), codes[1].astype(np.int64)
    missing = depth.eq(9999) | hours.isin([0, 99])
    trace = codes[2].eq("2") & ~missing
    _count(repairs, "missing precipitation (9999) left out", int(missing.sum()))
    _count(repairs, "traces of precipitation set to 0 mm", int(trace.sum()))
    table = _table(rows, codes[3])
    table["variable"], table["hours"] = "total_precipitation_24hr", hours.astype(float)
    table["value"] = np.where(trace, 0.0, depth / 10.0)
    return _first_of_minute(table[~missing], repairs)


def _table(rows: pd.DataFrame, quality: pd.Series) -> pd.DataFrame:
    word = quality.map(_BAD)
    return pd.DataFrame(
        {
            "station_id": rows["STATION"].str.strip(),
            "latitude": rows["LATITUDE"],
            "longitude": rows["LONGITUDE"],
            "elevation": rows["ELEVATION"],
            "time": rows["time"],
            "hours": 0.0,
            "accepted": word.isna(),
            "reason": ("flag: quality " + quality + " " + word).where(word.notna(), ""),
        }
    )


def _first_of_minute(table: pd.DataFrame, repairs: dict[str, int]) -> pd.DataFrame:
    """Keep the first accepted one of several reports of one minute."""
    keys = ["station_id", "time", "hours"]
    later = table["accepted"] & table[table["accepted"]].duplicated(keys).reindex(
        table.index, fill_value=False
    )
    _count(repairs, "further reports of the same minute dropped", int(later.sum()))
    return table[~later]


def _codes(rows: pd.DataFrame, name: str, file: Path) -> pd.Series:
    """Return a column of codes; refuse invalid ones."""
    codes = rows[name].str.strip()
    wrong = ~codes.str.fullmatch(_CODES[name])
    if wrong.any():
        found, when = codes[wrong].iloc[0], rows.loc[wrong, "time"].iloc[0]
        raise UserError(
            f"station archive {file}: {name} of {when:%Y-%m-%dT%H:%M} is {found!r}, expected a "
            f"code such as {'+0123,1' if name == 'TMP' else '06,0012,9,5'}"
        )
    return codes


def _count(repairs: dict[str, int], what: str, number: int) -> None:
    repairs[what] = repairs.get(what, 0) + number
