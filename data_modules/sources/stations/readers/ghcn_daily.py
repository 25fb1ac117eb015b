"""Reader of GHCN-Daily by year (NOAA NCEI): one line per value, without a header.

    ID,YYYYMMDD,ELEMENT,VALUE,MFLAG,QFLAG,SFLAG,OBSTIME

VALUE is a whole number: PRCP in 0.1 mm, TMAX, TMIN and TAVG in 0.1 degrees Celsius. A QFLAG that
is not blank rejects the value. Positions are in `ghcnd-stations.txt`, of fixed width: ID 1-11,
LATITUDE 13-20, LONGITUDE 22-30, ELEVATION 32-37 (m, -999.9 unknown).

A date is the station's local day: 24 hours that end at OBSTIME (local, HHMM), or at local midnight
where it is blank. Most of a total observed in the morning fell on the day before; by default it
keeps the date under which the archive publishes it.

Source: Menne et al. 2012, doi 10.1175/JTECH-D-11-00103.1, and the archive's readme.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from data_modules.sources.stations.reports.request import ReportRequest, open_text, parse_times
from data_modules.sources.stations.reports.station_list import (
    check_positions,
    locate,
    read_station_list,
)
from data_modules.sources.stations.reports.table import StationReports
from slams.errors import UserError

__all__ = ["ELEMENTS", "read_ghcn_daily", "read_ghcn_daily_parts"]

ELEMENTS = {
    "PRCP": "total_precipitation_24hr",
    "TAVG": "2m_temperature",
    "TMAX": "2m_temperature",
    "TMIN": "2m_temperature",
}
_FIELDS = ("id", "date", "element", "value", "mflag", "qflag", "sflag", "obstime")
_LINE = "ID,YYYYMMDD,ELEMENT,VALUE,MFLAG,QFLAG,SFLAG,OBSTIME without a header"
# Columns of few different texts.
_TEXT = ("id", "element", "qflag")
_MISSING = -9999
_BEFORE_NOON = (1, 1200)
# Lines read at a time, and per part.
_ROWS = 1_000_000


def read_ghcn_daily(request: ReportRequest) -> StationReports:
    """Read files by year, a million lines at a time.

    Args:
        request: What is requested. `config.path` is a file (`2020.csv` or `2020.csv.gz`), a
            directory of them, or a pattern; `station_list` is `ghcnd-stations.txt`; `elements`
            are the elements read, by default all that provide a requested variable; `morning` is
            `as_dated`, or `day_before` to date values observed before noon one day earlier. The
            daily mean temperature is TAVG where it exists, otherwise the mean of TMAX and TMIN.

    Raises:
        UserError: A file has another layout, a station is not in the list or has impossible
            coordinates, or a value is not a whole number.
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
    start, found = 0, False
    while start < len(lines):
        # As many whole stations as fit, and at least one.
        fitting = ends[(ends > start) & (ends <= start + _ROWS)]
        stop = int(fitting[-1] if len(fitting) else ends[ends > start][0])
        rows = lines.iloc[order[start:stop]]
        start = stop
        if rows["value"].ne(_MISSING).any():
            found = True
            yield _reports(rows, stations, replace(request, repairs=Counter()), early)
    if not found:
        _reports(lines, stations, request, early)  # refuses that there is no value


def _stations(request: ReportRequest) -> pd.DataFrame:
    """Read and check the list of stations."""
    listed = request.config.station_list
    stations = read_station_list(listed, request.key, "ghcnd-stations.txt")
    check_positions(stations, listed, request.key)
    return stations


def _early(lines: pd.DataFrame) -> float:
    """Return the share of the values with an OBSTIME before noon."""
    there = lines["value"].ne(_MISSING)
    return float(lines["obstime"][there].between(*_BEFORE_NOON).mean()) if there.any() else 0.0


def _lines(request: ReportRequest, elements: Sequence[str]) -> pd.DataFrame:
    """Read the lines of some elements and the requested days from all files, in little memory."""
    files = request.files(".csv", ".csv.gz")
    parts = [part for file in files for part in _read(file, elements, request)]
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
    day = parse_times(rows["date"], "%Y%m%d", config.path, "YYYYMMDD")
    early = rows["obstime"].between(*_BEFORE_NOON)
    if config.morning == "day_before":
        repairs["morning observations moved to the day before"] = int(early.sum())
        day = day.where(~early, day - pd.Timedelta(days=1))
    _refuse_two(rows.assign(day=day), config.path)
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
    table = _one_temperature(table, repairs)
    places = locate(table["station_id"], stations, config.station_list, config.path)
    return request.reports(
        [pd.concat([table, places], axis=1)],
        {
            "day": f"the station's local day, {config.morning}; {early_share:.1%} of the values "
            "have an OBSTIME before noon",
            "2m_temperature": "TAVG, otherwise the mean of TMAX and TMIN",
            "flags": "a QFLAG that is not blank rejects",
        },
    )


def _read(file: Path, elements: Sequence[str], request: ReportRequest) -> Iterator[pd.DataFrame]:
    """Read the lines of some elements and days from one file."""
    days = (request.first, request.last)
    low, high = (str(day.astype("datetime64[D]")).replace("-", "") for day in days)
    with open_text(file, f"{request.key}.path") as text:
        try:
            for chunk in pd.read_csv(
                text,
                header=None,
                names=list(_FIELDS),
                dtype=str,
                keep_default_na=False,
                chunksize=_ROWS,
            ):
                _check_layout(chunk, file)
                inside = chunk["element"].isin(elements) & chunk["date"].between(low, high)
                rows = chunk[inside]
                obstime = pd.to_numeric(rows["obstime"], errors="coerce")
                yield pd.DataFrame(
                    {
                        "id": rows["id"].astype("category"),
                        "date": rows["date"].astype(np.int32),
                        "element": rows["element"].astype("category"),
                        "value": pd.to_numeric(_tenths(rows, file), downcast="integer"),
                        "qflag": rows["qflag"].str.strip().astype("category"),
                        "obstime": obstime.astype(np.float32),
                    }
                )
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise UserError(f"station archive {file}: expected lines {_LINE} ({error})") from None


def _check_layout(chunk: pd.DataFrame, file: Path) -> None:
    """Refuse lines that do not have eight fields, and a header."""
    wrong = ~(
        chunk["id"].str.len().eq(11)
        & chunk["date"].str.fullmatch(r"\d{8}").fillna(False)
        & chunk["element"].str.len().eq(4)
    )
    if isinstance(chunk.index, pd.MultiIndex) or wrong.any():
        row = chunk[wrong].iloc[0] if wrong.any() else chunk.iloc[0]
        raise UserError(
            f"station archive {file}: found the line {','.join(map(str, row[:4]))!r}..., expected "
            f"{_LINE}"
        )


def _tenths(rows: pd.DataFrame, file: Path) -> pd.Series:
    """Return the values as whole numbers (tenths of their units), `(n,)` int64."""
    wrong = ~rows["value"].str.strip().str.fullmatch(r"-?\d+")
    if wrong.any():
        row = rows[wrong].iloc[0]
        raise UserError(
            f"station archive {file}: {row['element']} of {row['id']} on {row['date']} is "
            f"{row['value']!r}, expected a whole number of tenths (0.1 mm, 0.1 degrees Celsius)"
        )
    return rows["value"].astype(np.int64)


def _refuse_two(rows: pd.DataFrame, path: str) -> None:
    """Refuse two accepted values of one station, day and element."""
    good = rows[rows["qflag"].eq("")]
    twice = good[good.duplicated(["id", "day", "element"])]
    if len(twice):
        row = twice.iloc[0]
        raise UserError(
            f"station archive {path}: {row['element']} of station {row['id']} on {row['date']} "
            f"occurs more than once with different values; remove the duplicates"
        )


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
