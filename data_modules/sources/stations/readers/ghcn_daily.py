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

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.files import archive_files, open_text
from data_modules.sources.stations.reports.table import StationReports, station_reports
from slams.config.schema import StationSourceConfig
from slams.errors import UserError

__all__ = ["ELEMENTS", "read_ghcn_daily", "read_ghcn_stations"]

ELEMENTS = {
    "PRCP": "total_precipitation_24hr",
    "TAVG": "2m_temperature",
    "TMAX": "2m_temperature",
    "TMIN": "2m_temperature",
}
_FIELDS = ("id", "date", "element", "value", "mflag", "qflag", "sflag", "obstime")
_ROWS = 1_000_000


def read_ghcn_daily(
    config: StationSourceConfig,
    variables: Sequence[str],
    first: np.datetime64,
    last: np.datetime64,
    key: str,
) -> StationReports:
    """Read files by year, a million lines at a time.

    Args:
        config: The archive's section of the recipe. `path` is a file (`2020.csv` or
            `2020.csv.gz`), a directory of them, or a pattern; `station_list` is
            `ghcnd-stations.txt`; `elements` are the elements read, by default all that provide a
            requested variable; `morning` is `as_dated`, or `day_before` to date values observed
            before noon one day earlier. The daily mean temperature is TAVG where it exists,
            otherwise the mean of TMAX and TMIN.
        variables: Variables to read.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: A file has another layout, a station is not in the list or has impossible
            coordinates, or a value is not a whole number.
    """
    path, station_list = config.path, config.station_list
    wanted = [e for e in (config.elements or ELEMENTS) if ELEMENTS.get(e) in variables]
    for element in config.elements:
        if element not in ELEMENTS:
            raise UserError(
                f"{key}.elements: {element!r} is not read from GHCN-Daily; "
                f"expected some of {', '.join(ELEMENTS)}"
            )
    stations = read_ghcn_stations(station_list, key)
    parts = [
        part
        for file in archive_files(path, (".csv", ".csv.gz"), key)
        for part in _read(file, wanted, first, last, key)
    ]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(_FIELDS))
    missing = rows["value"].eq(-9999)
    repairs = {"missing values (-9999) left out": int(missing.sum())}
    rows = _once(rows[~missing], repairs, path)
    unknown = ~rows["id"].isin(stations.index)
    if unknown.any():
        raise UserError(
            f"station archive {path}: station {rows.loc[unknown, 'id'].iloc[0]} is not in "
            f"{station_list} ({rows.loc[unknown, 'id'].nunique()} such stations); expected the "
            f"list of the same archive"
        )
    day = pd.to_datetime(rows["date"], format="%Y%m%d", errors="coerce")
    if day.isna().any():
        found = rows.loc[day.isna(), "date"].iloc[0]
        raise UserError(f"station archive {path}: {found!r} is not a date, expected YYYYMMDD")
    early = rows["obstime"].between(1, 1200)
    if config.morning == "day_before":
        repairs["morning observations moved to the day before"] = int(early.sum())
        day = day.where(~early, day - pd.Timedelta(days=1))
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
    place = stations.loc[table["station_id"]].reset_index(drop=True)
    table = pd.concat([table.reset_index(drop=True), place], axis=1)
    share = float(early.mean()) if len(rows) else 0.0
    return station_reports(
        table,
        path,
        key,
        {
            "day": f"the station's local day, {config.morning}; {share:.1%} of the values have an "
            "OBSTIME before noon",
            "2m_temperature": "TAVG, otherwise the mean of TMAX and TMIN",
            "flags": "a QFLAG that is not blank rejects",
        },
        repairs,
    )


def read_ghcn_stations(path: str, key: str) -> pd.DataFrame:
    """Read `ghcnd-stations.txt`: latitude, longitude and elevation by station.

    Args:
        path: The file.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: The file is missing, a line has another layout, a station occurs twice, or has
            impossible coordinates.
    """
    if not path:
        raise UserError(
            f"key '{key}.station_list': found nothing, expected the path of ghcnd-stations.txt"
        )
    rows: dict[str, tuple[float, float, float]] = {}
    with open_text(path, f"{key}.station_list") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            name = line[:11].strip()
            try:
                latitude, longitude = float(line[12:20]), float(line[21:30])
                elevation = float(line[31:37])
            except ValueError:
                raise UserError(
                    f"{key}.station_list: line {number} of {path} does not have the fixed-width "
                    f"layout of ghcnd-stations.txt: {line.rstrip()[:40]!r}"
                ) from None
            if not (-90 <= latitude <= 90 and -180 <= longitude <= 360):
                raise UserError(
                    f"{key}.station_list: station {name} of {path} is at {latitude:g}, "
                    f"{longitude:g} degrees, expected -90 to 90, -180 to 360"
                )
            if name in rows:
                raise UserError(f"{key}.station_list: station {name} is listed twice in {path}")
            rows[name] = latitude, longitude, np.nan if elevation < -999 else elevation
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["latitude", "longitude", "elevation"]
    )


def _read(
    file: Path, elements: Sequence[str], first: np.datetime64, last: np.datetime64, key: str
) -> list[pd.DataFrame]:
    """Read the lines of some elements and days from one file."""
    low, high = (str(d.astype("datetime64[D]")).replace("-", "") for d in (first, last))
    parts = []
    with open_text(file, f"{key}.path") as text:
        try:
            reader = pd.read_csv(
                text,
                header=None,
                names=list(_FIELDS),
                dtype=str,
                keep_default_na=False,
                chunksize=_ROWS,
            )
            for chunk in reader:
                _check_layout(chunk, file)
                inside = chunk["element"].isin(elements) & chunk["date"].between(low, high)
                part = chunk[inside].copy()
                part["value"] = _whole(part, "value", file)
                part["obstime"] = pd.to_numeric(part["obstime"], errors="coerce")
                part["qflag"] = part["qflag"].str.strip()
                parts.append(part)
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise UserError(
                f"station archive {file}: expected lines {','.join(_FIELDS).upper()} ({error})"
            ) from None
    return parts


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
            f"ID,YYYYMMDD,ELEMENT,VALUE,MFLAG,QFLAG,SFLAG,OBSTIME without a header"
        )


def _whole(part: pd.DataFrame, name: str, file: Path) -> pd.Series:
    """Return a column as whole numbers (tenths of its units), `(n,)` int64."""
    wrong = ~part[name].str.strip().str.fullmatch(r"-?\d+")
    if wrong.any():
        row = part[wrong].iloc[0]
        raise UserError(
            f"station archive {file}: {row['element']} of {row['id']} on {row['date']} is "
            f"{row[name]!r}, expected a whole number of tenths (0.1 mm, 0.1 degrees Celsius)"
        )
    return part[name].astype(np.int64)


def _once(rows: pd.DataFrame, repairs: dict[str, int], path: str) -> pd.DataFrame:
    """Drop repeated lines, and refuse two values of one station, day and element."""
    same = rows.duplicated(["id", "date", "element", "value", "qflag"])
    repairs["repeated rows dropped"] = int(same.sum())
    rows = rows[~same]
    twice = rows[rows["qflag"].eq("")].duplicated(["id", "date", "element"])
    if twice.any():
        row = rows.loc[twice.index[twice]].iloc[0]
        raise UserError(
            f"station archive {path}: {row['element']} of station {row['id']} on {row['date']} "
            f"occurs more than once with different values; remove the duplicates"
        )
    return rows


def _one_temperature(table: pd.DataFrame, repairs: dict[str, int]) -> pd.DataFrame:
    """Combine TAVG, TMAX and TMIN into one daily mean, and add the names of variables."""
    day = ["station_id", "time", "hours"]
    # Rejected values are kept unchanged, with their reasons.
    rejected = table[~table["accepted"]]
    good = table[table["accepted"]]
    pairs = good[good["element"].isin(["TMAX", "TMIN"])]
    wide = pairs.pivot(index=day, columns="element", values="value")
    if {"TMAX", "TMIN"} <= set(wide.columns):
        both = wide.dropna(subset=["TMAX", "TMIN"])
        crossed = both["TMAX"] < both["TMIN"]
        repairs["days with TMAX below TMIN left out"] = int(crossed.sum())
        both = both[~crossed]
        mean = both[["TMAX", "TMIN"]].mean(axis=1).rename("value").reset_index()
    else:
        mean = pd.DataFrame(columns=[*day, "value"])
    averages = good[good["element"].eq("TAVG")]
    known = pd.MultiIndex.from_frame(averages[day])
    mean = mean[~pd.MultiIndex.from_frame(mean[day]).isin(known)]
    mean = mean.assign(element="TAVG", accepted=True, reason="")
    rest = good[good["element"].isin(["TAVG", "PRCP"])]
    out = pd.concat([part for part in (rest, mean, rejected) if len(part)] or [rest])
    return out.assign(variable=out["element"].map(ELEMENTS)).drop(columns="element")
