"""Reader of GHCNh (NOAA NCEI), hourly reports, the successor of ISD since 2025.

Files are `GHCNh_ID_YEAR.parquet` or `.psv` (separated by `|`), one per station and year or per
station (`_por`). There are two generations of column names, both read:

    STATION or Station_ID                          DATE (UTC), or Year, Month, Day, Hour, Minute
    LATITUDE, LONGITUDE, ELEVATION or Latitude, Longitude, Elevation (degrees, m)

Each variable has a column of values (`temperature` in degrees Celsius, `precipitation` and
`precipitation_3_hour` .. `precipitation_24_hour` in mm) and columns `_Measurement_Code`,
`_Quality_Code`, `_Report_Type`, `_Source_Code` and `_Source_Station_ID`.

* Quality: accepted are blank, 0, 1, 4, 5 and 9 (those of ISD that passed, or were not checked);
  2, 3, 6 and 7 (suspect, erroneous) and every letter (a check of GHCNh that failed) reject.
* Measurement: T or 2 is a trace, read as 0 mm; 1 and 3 to 8, E, I and J (impossible, accumulated,
  deleted, incomplete or estimated amounts) reject precipitation.
* `precipitation` is the amount of the hour before. Special reports (FM-16) carry running totals of
  an hour that has not ended: their precipitation is left out. Summaries (SOD, SOM) are left out.
* Of several reports of one minute a synoptic one (FM-12) takes precedence over a METAR (FM-15),
  and that over any other.

Source: https://www.ncei.noaa.gov/oa/global-historical-climatology-network/hourly/doc/
ghcnh_DOCUMENTATION.pdf. It could not be read here: names and codes are taken from public readers
that cite it. Not confirmed are: the meaning of each letter, that 0 and 9 are as in ISD for every
source, codes of measurement other than T, and how report types are spelt (both are read).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet

from data_modules.containers.unpacking import open_bytes
from data_modules.sources.files.opening import refused
from data_modules.sources.stations.reports.columns import no_numbers, numbers, utc_times
from data_modules.sources.stations.reports.request import ReportRequest, open_text
from data_modules.sources.stations.reports.station_list import countries
from data_modules.sources.stations.reports.table import StationReports
from slams.errors import UserError, first_line

__all__ = ["read_ghcnh"]

# Hours that the values of a column cover.
_HOURS = {
    "temperature": 0.0,
    "precipitation": 1.0,
    **{f"precipitation_{hours}_hour": float(hours) for hours in (3, 6, 9, 12, 15, 18, 21, 24)},
}
_VARIABLES = {
    name: "total_precipitation_24hr" if hours else "2m_temperature"
    for name, hours in _HOURS.items()
}
_PLACE = {"LATITUDE": "latitude", "LONGITUDE": "longitude", "ELEVATION": "elevation"}
_TIME = ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE")
_CODES = ("_Measurement_Code", "_Quality_Code", "_Report_Type", "_Source_Code")
_GOOD = ("", "0", "1", "4", "5", "9")
_WORDS = {"2": "suspect", "3": "erroneous", "6": "suspect", "7": "erroneous"}
_TRACE = ("T", "2")
_NO_AMOUNT = ("1", "3", "4", "5", "6", "7", "8", "E", "I", "J")
# Cooperative gauges (source 382) mark with 1 what others leave blank.
_COOPERATIVE = "382"
_RANK = {"FM12": 0, "FM15": 1}
_SUMMARIES = ("SOD", "SOM")
_EXPECTED = "GHCNh as .psv or .parquet with STATION (or Station_ID), DATE (or Year .. Minute)"


def read_ghcnh(request: ReportRequest) -> StationReports:
    """Read files by station.

    Args:
        request: What is requested; `config.path` is a file, a directory of them, or a pattern,
            `config.elements` are the columns read, by default all that provide a requested
            variable.

    Raises:
        UserError: A file has another layout, or too many reports cannot be used.
    """
    columns = request.elements(_VARIABLES, "GHCNh")
    parts = []
    for file in request.files(".psv", ".psv.gz", ".parquet", name="GHCNh|ghcnh"):
        rows = _rows(file, columns, request)
        parts += [_table(rows, column, request) for column in columns if column in rows]
    parts = [part for part in parts if len(part)]
    listed = None
    if parts:
        table = pd.concat(parts, ignore_index=True)
        table = _first_of_minute(table, request)
        parts = [table]
        listed = table.drop_duplicates("station_id").set_index("station_id", drop=False)
        listed = listed.assign(country=countries(listed["station_id"]))
    return request.reports(
        parts,
        {
            "day": "UTC; instants, and periods that end at the time of the report",
            "flags": "quality codes other than blank, 0, 1, 4, 5 and 9 reject",
            "trace": "0 mm",
        },
        listed,
    )


def _rows(file: Path, columns: Sequence[str], request: ReportRequest) -> pd.DataFrame:
    """Read the reports of the requested days: station_id, place, time, values and codes."""
    rows = _open(file, columns, f"{request.key}.path")
    upper = {str(name).upper(): name for name in rows}
    station = upper.get("STATION", upper.get("STATION_ID"))
    dated = "DATE" in upper
    missing = [
        *(["STATION (or Station_ID)"] if station is None else []),
        *([] if dated or all(n in upper for n in _TIME) else ["DATE (or Year .. Minute)"]),
        *(name for name in _PLACE if name not in upper),
        *([] if any(name in rows for name in columns) else [" or ".join(columns)]),
    ]
    if missing:
        raise UserError(
            f"{request.key}.path: {file} lacks the column {', '.join(missing)}, expected "
            f"{_EXPECTED}"
        )
    if dated:
        time = utc_times(rows[upper["DATE"]])
    else:
        parts = {name: numbers(rows[upper[name.upper()]]) for name in map(str.lower, _TIME)}
        time = pd.to_datetime(pd.DataFrame(parts), errors="coerce").astype("datetime64[ns]")
    found = rows.assign(
        station_id=rows[station].astype("string").str.strip().astype(object),
        time=time,
        **{name: numbers(rows[upper[column]]) for column, name in _PLACE.items()},
    )
    # -999 means that the elevation is unknown.
    found["elevation"] = found["elevation"].where(found["elevation"].between(-500, 9000))
    found = request.left_out.keep(
        found,
        found["time"].notna(),
        "time unreadable",
        lambda row: f"{file}: a report of {row['station_id']} has no time",
    )
    return request.inside(found)


def _open(file: Path, columns: Sequence[str], key: str) -> pd.DataFrame:
    """Read the columns of a file that are needed, those of a `.psv` file as text."""
    codes = {f"{column}{code}" for column in columns for code in ("", *_CODES)}
    heads = {"STATION", "STATION_ID", "DATE", *_TIME, *_PLACE}

    def needed(name: str) -> bool:
        return name in codes or name.upper() in heads

    if file.suffix == ".parquet":
        with open_bytes(file, key) as data, refused(f"{key}: {file} cannot be read as Parquet"):
            parquet = pyarrow.parquet.ParquetFile(data)
            names = [name for name in parquet.schema_arrow.names if needed(name)]
            return parquet.read(columns=names).to_pandas(ignore_metadata=True)
    with open_text(file, key) as text:
        try:
            return pd.read_csv(
                text, sep="|", dtype=str, keep_default_na=False, usecols=needed, quoting=3
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise UserError(
                f"{key}: {file} cannot be read ({first_line(error)}), expected {_EXPECTED}"
            ) from None


def _table(rows: pd.DataFrame, column: str, request: ReportRequest) -> pd.DataFrame:
    """Convert one column of values to the long table, with the rank of each report."""
    rows = request.left_out.keep(
        rows,
        ~no_numbers(rows[column]),
        "value no number",
        lambda row: f"{row['station_id']} of {row['time']} has {column} {row[column]!r}",
    )
    value = numbers(rows[column])
    rows, value = rows[value.notna()], value[value.notna()]
    measured, quality, kind, source = (_code(rows, column + code) for code in _CODES)
    # Numbers of codes may be text such as `1-Measured`.
    measured = measured.str.partition("-")[0] if len(measured) else measured
    kind = kind.str.replace("-", "").str.upper()
    rain = _HOURS[column] > 0
    good = quality.isin(_GOOD)
    reason = "flag: quality " + quality + " " + quality.map(_WORDS).fillna("failed a check")
    reason = reason.where(~good, "")
    skipped = kind.isin(_SUMMARIES)
    request.repairs["summaries of a day or month left out"] += int(skipped.sum())
    if rain:
        none = measured.isin(_NO_AMOUNT) & ~(measured.eq("1") & source.eq(_COOPERATIVE))
        reason = reason.where(~(good & none), "flag: measurement " + measured)
        good &= ~none
        trace = measured.isin(_TRACE)
        request.repairs["traces of precipitation set to 0 mm"] += int(trace.sum())
        value = value.mask(trace, 0.0)
        if column == "precipitation":
            special = kind.eq("FM16") & ~skipped
            what = "running totals of special reports (FM-16) left out"
            request.repairs[what] += int(special.sum())
            skipped |= special
    table = pd.DataFrame(
        {
            "station_id": rows["station_id"],
            **{name: rows[name] for name in _PLACE.values()},
            "time": rows["time"],
            "hours": _HOURS[column],
            "variable": _VARIABLES[column],
            "value": value if rain else value + 273.15,
            "accepted": good,
            "reason": reason,
            "rank": kind.map(_RANK).fillna(2),
        }
    )
    return table[~skipped]


def _code(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return codes as text, "" where there is none."""
    if name not in rows:
        return pd.Series("", index=rows.index, dtype=object)
    codes = rows[name]
    if pd.api.types.is_float_dtype(codes):  # whole numbers beside missing ones
        codes = codes.round().astype("Int64")
    return codes.astype("string").fillna("").str.strip().astype(object)


def _first_of_minute(table: pd.DataFrame, request: ReportRequest) -> pd.DataFrame:
    """Keep the first accepted one of several reports of one minute, by rank."""
    table = table.assign(minute=table["time"].dt.floor("min"))
    order = ["station_id", "minute", "rank", "time"]
    table = table.sort_values(order, kind="stable", ignore_index=True)
    accepted = table[table["accepted"]]
    later = accepted.index[accepted.duplicated(["station_id", "minute", "hours", "variable"])]
    request.repairs["further reports of the same minute dropped"] += len(later)
    return table.drop(later).drop(columns=["rank", "minute"])
