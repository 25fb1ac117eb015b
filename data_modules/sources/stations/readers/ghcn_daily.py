"""Reader of GHCN-Daily (NOAA NCEI), by year or by station, one value per line.

The layouts of files are in `reports.ghcn_files`. VALUE is a whole number: PRCP in 0.1 mm, TMAX,
TMIN and TAVG in 0.1 degrees Celsius. A QFLAG that is not blank rejects the value. Positions are in
`ghcnd-stations.txt`, of fixed width: ID 1-11, LATITUDE 13-20, LONGITUDE 22-30, ELEVATION 32-37 (m,
-999.9 unknown).

A date is the station's local day: 24 hours that end at OBSTIME (local, HHMM), or at local midnight
where it is blank. Most of a total observed in the morning fell on the day before; by default it
keeps the date under which the archive publishes it.

Source: Menne et al. 2012, doi 10.1175/JTECH-D-11-00103.1, and the archive's readme.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.sources.stations.reports.ghcn_files import LINE, SUFFIXES, read_ghcn_lines
from data_modules.sources.stations.reports.request import ReportRequest, keep_times
from data_modules.sources.stations.reports.station_list import locate, read_station_list
from data_modules.sources.stations.reports.table import StationReports

__all__ = ["ELEMENTS", "read_ghcn_daily", "read_ghcn_daily_parts"]

ELEMENTS = {
    "PRCP": "total_precipitation_24hr",
    "TAVG": "2m_temperature",
    "TMAX": "2m_temperature",
    "TMIN": "2m_temperature",
}
# Columns of few different texts.
_TEXT = ("id", "element", "qflag")
_MISSING = -9999
_DATE = ("%Y%m%d", "YYYYMMDD")
_BEFORE_NOON = (1, 1200)
# Lines read at a time, and per part.
_ROWS = 1_000_000


def read_ghcn_daily(request: ReportRequest) -> StationReports:
    """Read files by year or by station, a million lines at a time.

    Args:
        request: What is requested. `config.path` is a file (`2020.csv`, `ID.csv`, `ID.dly`, also
            with `.gz`), a directory of them, or a pattern; `station_list` is
            `ghcnd-stations.txt`; `elements` are the elements read, by default all that provide a
            requested variable; `morning` is `as_dated`, or `day_before` to date values observed
            before noon one day earlier. The daily mean temperature is TAVG where it exists,
            otherwise the mean of TMAX and TMIN.

    Raises:
        UserError: A file has another layout, or too many lines cannot be used: the station is not
            in the list or has impossible coordinates, there are several values for one day and
            element, or a value is not a whole number.
    """
    elements = request.elements(ELEMENTS, "GHCN-Daily")
    stations = _stations(request)
    lines = _lines(request, elements)
    return _reports(lines, stations, request, _early(lines))


def read_ghcn_daily_parts(request: ReportRequest) -> Iterator[StationReports]:
    """Read as `read_ghcn_daily`, and return the reports of some stations at a time.

    The lines of all files are held in 20 bytes each; only a part, of about a million lines, is
    made into a long table at a time.

    Raises:
        UserError: As `read_ghcn_daily`.
    """
    elements = request.elements(ELEMENTS, "GHCN-Daily")
    stations = _stations(request)
    lines = _lines(request, elements)
    codes = lines["id"].cat.codes.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))  # of the lines of each station, in this order
    early = _early(lines)
    # What is wrong with lines is part of the first part; the limit is that of the whole archive.
    waiting, account = request.left_out.records, request.account()
    start, kept = 0, 0
    while start < len(lines):
        # As many whole stations as fit, and at least one.
        fitting = ends[(ends > start) & (ends <= start + _ROWS)]
        stop = int(fitting[-1] if len(fitting) else ends[ends > start][0])
        rows = lines.iloc[order[start:stop]]
        start = stop
        if not rows["value"].ne(_MISSING).any():
            continue
        part = request.part()
        part.left_out.include(waiting)
        reports = _reports(rows, stations, part, early)
        kept += len(reports.table)
        waiting = reports.left_out if reports.table.empty else ()
        if not reports.table.empty:
            account.include(reports.left_out)
            yield reports
    account.include(waiting)
    account.check(kept)
    if not kept:
        _reports(lines, stations, request, early)  # refuses that there is no value


def _stations(request: ReportRequest) -> pd.DataFrame:
    """Read the list of stations."""
    return read_station_list(request.config.station_list, request.key, "ghcnd-stations.txt")


def _early(lines: pd.DataFrame) -> float:
    """Return the share of the values with an OBSTIME before noon."""
    there = lines["value"].ne(_MISSING)
    return float(lines["obstime"][there].between(*_BEFORE_NOON).mean()) if there.any() else 0.0


def _lines(request: ReportRequest, elements: Sequence[str]) -> pd.DataFrame:
    """Read the lines of some elements and the requested days from all files, in little memory."""
    files = request.files(*SUFFIXES)
    parts = [part for file in files for part in _read(file, elements, request)]
    if not parts:
        request.reports([], {})  # refuses that there is no value
    columns = {}
    for name in list(parts[0]):
        own = [part.pop(name) for part in parts]
        if name in _TEXT:
            columns[name] = union_categoricals(own, sort_categories=True)
        else:
            columns[name] = np.concatenate(own)
    return pd.DataFrame(columns)


def _reports(
    rows: pd.DataFrame, stations: pd.DataFrame, request: ReportRequest, early_share: float
) -> StationReports:
    """Convert lines to the long table.

    Args:
        rows: Lines of `_lines`, all those of each of their stations.
        stations: The list of stations.
        request: What is requested; repairs are counted.
        early_share: Share of the archive's values observed before noon.
    """
    config, repairs = request.config, request.repairs
    rows = rows.astype({**dict.fromkeys((*_TEXT, "date"), str), "value": np.int64})
    missing = rows["value"].eq(_MISSING)
    repairs["missing values (-9999) left out"] = int(missing.sum())
    rows = rows[~missing]
    same = rows.duplicated(["id", "date", "element", "value", "qflag"])
    repairs["repeated rows dropped"] = int(same.sum())
    rows = rows[~same]
    rows = keep_times(rows, rows["date"], _DATE, config.path, request.left_out)
    day = rows["time"]
    early = rows["obstime"].between(*_BEFORE_NOON)
    if config.morning == "day_before":
        repairs["morning observations moved to the day before"] = int(early.sum())
        day = day.where(~early, day - pd.Timedelta(days=1))
    rows = _keep_single(rows.assign(day=day), request.left_out)
    day = rows["day"]
    flagged = rows["qflag"].ne("")
    celsius = rows["element"].ne("PRCP")
    table = pd.DataFrame(
        {
            "station_id": rows["id"],
            "time": day + pd.Timedelta(days=1),
            "hours": 24.0,
            "element": rows["element"],
            "value": rows["value"] / 10.0 + np.where(celsius, 273.15, 0.0),
            "accepted": ~flagged,
            "reason": np.where(flagged, "flag: QFLAG " + rows["qflag"], ""),
        }
    )
    if not table.empty:
        table = _one_temperature(table, repairs)
        table = locate(table, stations, config.station_list, request.left_out)
    return request.reports(
        [table],
        {
            "day": f"the station's local day, {config.morning}; {early_share:.1%} of the values "
            "have an OBSTIME before noon",
            "2m_temperature": "TAVG, otherwise the mean of TMAX and TMIN",
            "flags": "a QFLAG that is not blank rejects",
        },
        stations,
    )


def _read(file: Path, elements: Sequence[str], request: ReportRequest) -> Iterator[pd.DataFrame]:
    """Read the lines of some elements and days from one file."""
    days = (request.first, request.last)
    low, high = (str(day.astype("datetime64[D]")).replace("-", "") for day in days)
    for lines in read_ghcn_lines(file, elements, _ROWS, f"{request.key}.path"):
        chunk = _keep_lines(lines, file, request.left_out)
        inside = chunk["element"].isin(elements) & chunk["date"].between(low, high)
        rows = _keep_whole(chunk[inside], file, request.left_out)
        obstime = pd.to_numeric(rows["obstime"], errors="coerce")
        yield pd.DataFrame(
            {
                "id": rows["id"].astype("category"),
                "date": rows["date"].astype(np.int32),
                "element": rows["element"].astype("category"),
                "value": pd.to_numeric(rows["value"].astype(np.int64), downcast="integer"),
                "qflag": rows["qflag"].str.strip().astype("category"),
                "obstime": obstime.astype(np.float32),
            }
        )


def _keep_lines(chunk: pd.DataFrame, file: Path, left_out: Accounting) -> pd.DataFrame:
    """Leave out lines that do not have these fields."""
    good = (
        chunk["id"].str.len().eq(11)
        & chunk["date"].str.fullmatch(r"\d{8}").fillna(False)
        & chunk["element"].str.len().eq(4)
        # More fields than names would have moved all of them.
        & (not isinstance(chunk.index, pd.MultiIndex))
    )

    def example(row: pd.Series) -> str:
        return f"{file}: found the line {','.join(map(str, row.iloc[:4]))!r}..., expected {LINE}"

    return left_out.keep(chunk, good, "line of another layout", example)


def _keep_whole(rows: pd.DataFrame, file: Path, left_out: Accounting) -> pd.DataFrame:
    """Leave out values that are no whole numbers (tenths of their units)."""
    return left_out.keep(
        rows,
        rows["value"].str.strip().str.fullmatch(r"-?\d+"),
        "value that is no whole number",
        lambda row: (
            f"{file}: {row['element']} of {row['id']} on {row['date']} is {row['value']!r}, "
            f"expected a whole number of tenths (0.1 mm, 0.1 degrees Celsius)"
        ),
    )


def _keep_single(rows: pd.DataFrame, left_out: Accounting) -> pd.DataFrame:
    """Leave out all of several accepted values of one station, day and element."""
    good = rows[rows["qflag"].eq("")]
    identity = ["id", "day", "element"]
    twice = good.duplicated(identity, keep=False).reindex(rows.index, fill_value=False)

    def example(_: pd.Series) -> str:
        row = good[good.duplicated(identity)].iloc[0]
        return (
            f"{row['element']} of station {row['id']} on {row['date']} occurs more than once with "
            f"different values; remove the duplicates"
        )

    return left_out.keep(rows, ~twice, "several values at once", example)


def _one_temperature(table: pd.DataFrame, repairs: dict[str, int]) -> pd.DataFrame:
    """Combine TAVG, TMAX and TMIN into one daily mean, and add the names of variables."""
    day = ["station_id", "time", "hours"]
    # Rejected values are kept unchanged, with their reasons.
    good = table["accepted"]
    extreme = table["element"].isin(["TMAX", "TMIN"])
    both = table[good & extreme].pivot(index=day, columns="element", values="value")
    both = both.reindex(columns=["TMAX", "TMIN"]).dropna()
    crossed = both["TMAX"] < both["TMIN"]
    repairs["days with TMAX below TMIN left out"] = int(crossed.sum())
    mean = both[~crossed].mean(axis=1).rename("value").reset_index()
    averages = table[good & table["element"].eq("TAVG")]
    known = pd.MultiIndex.from_frame(averages[day])
    mean = mean[~pd.MultiIndex.from_frame(mean[day]).isin(known)]
    mean = mean.assign(element="TAVG", accepted=True, reason="")
    parts = [part for part in (table[good & ~extreme], mean, table[~good]) if len(part)]
    out = pd.concat(parts or [table], ignore_index=True)
    return out.assign(variable=out["element"].map(ELEMENTS)).drop(columns="element")
