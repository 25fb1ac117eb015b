"""Reader of isd-lite (NOAA NCEI): hourly, fixed fields, one file per station and year.

A line has 12 whole numbers: year, month, day, hour (UTC), air temperature, dew point (0.1
degrees Celsius), sea level pressure, wind direction and speed, sky cover, precipitation of 1 and
of 6 hours (0.1 mm); -9999 is missing, precipitation of -1 is a trace. The name of a file is
`USAF-WBAN-YEAR[.gz]`; positions are in `isd-history.csv`.

isd-lite contains only values that passed the quality control of ISD, so there are no flags.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.files import archive_files, open_text
from data_modules.sources.stations.reports.table import StationReports, station_reports
from slams.config.schema import StationSourceConfig
from slams.errors import UserError

__all__ = ["read_isd_history", "read_isd_lite"]

_HISTORY = ("USAF", "WBAN", "LAT", "LON", "ELEV(M)")
_FIELDS = 12


def read_isd_lite(
    config: StationSourceConfig,
    variables: Sequence[str],
    first: np.datetime64,
    last: np.datetime64,
    key: str,
) -> StationReports:
    """Read files by station and year.

    Args:
        config: The archive's section of the recipe; `path` is a file, a directory of them, or a
            pattern, `station_list` is `isd-history.csv`.
        variables: Variables to read.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: A file has another layout, a station is not in the list, or has impossible
            coordinates there.
    """
    station_list = config.station_list
    stations = read_isd_history(station_list, key)
    repairs = {"traces of precipitation set to 0 mm": 0}
    parts = []
    for file in archive_files(config.path, ("",), key):
        name = "-".join(file.name.split(".")[0].split("-")[:2])
        if name not in stations:
            raise UserError(
                f"station archive {file}: station {name} is not in {station_list}; expected a "
                f"file named USAF-WBAN-YEAR and the list of the same archive"
            )
        latitude, longitude, elevation = stations[name]
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 360):
            raise UserError(
                f"{key}.station_list: station {name} of {station_list} is at {latitude:g}, "
                f"{longitude:g} degrees, expected -90 to 90, -180 to 360"
            )
        rows = _numbers(file, key)
        time = _times(rows, file)
        # Periods that end early on the following day may belong to the last one.
        inside = (time >= first) & (time < last + np.timedelta64(2, "D"))
        rows, time = rows[inside], time[inside]
        for variable, column, hours in (
            ("2m_temperature", 4, 0.0),
            ("total_precipitation_24hr", 10, 1.0),
            ("total_precipitation_24hr", 11, 6.0),
        ):
            if variable not in variables:
                continue
            value = rows[:, column].astype(np.float64)
            there = value != -9999
            trace = there & (value == -1) & (hours > 0)
            repairs["traces of precipitation set to 0 mm"] += int(trace.sum())
            value = np.where(trace, 0.0, value / 10) + (273.15 if hours == 0 else 0.0)
            parts.append(
                pd.DataFrame(
                    {
                        "station_id": name,
                        "latitude": latitude,
                        "longitude": longitude,
                        "elevation": elevation,
                        "time": time[there],
                        "hours": hours,
                        "variable": variable,
                        "value": value[there],
                    }
                )
            )
    parts = [part for part in parts if len(part)]
    return station_reports(
        pd.concat(parts, ignore_index=True) if parts else _empty(),
        config.path,
        key,
        {"day": "UTC; instants, and periods that end at the hour", "trace": "0 mm"},
        repairs,
    )


def read_isd_history(path: str, key: str) -> dict[str, tuple[float, float, float]]:
    """Read `isd-history.csv`: latitude, longitude and elevation by `USAF-WBAN`.

    Stations without a position are left out.

    Args:
        path: The file.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: The file is missing or has another layout, or a station occurs twice.
    """
    if not path:
        raise UserError(
            f"key '{key}.station_list': found nothing, expected the path of isd-history.csv"
        )
    found: dict[str, tuple[float, float, float]] = {}
    with open_text(path, f"{key}.station_list") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _HISTORY if name not in (reader.fieldnames or ())]
        if missing:
            raise UserError(
                f"{key}.station_list: the header of {path} lacks {', '.join(missing)}, expected "
                f"that of isd-history.csv"
            )
        for row in reader:
            name = f"{row['USAF']}-{row['WBAN']}"
            if name in found:
                raise UserError(f"{key}.station_list: station {name} is listed twice in {path}")
            try:
                place = float(row["LAT"]), float(row["LON"])
            except (TypeError, ValueError):
                continue
            height = (row["ELEV(M)"] or "").strip()
            elevation = float(height) if height else np.nan
            found[name] = (*place, np.nan if elevation < -999 else elevation)
    return found


def _numbers(file: Path, key: str) -> np.ndarray:
    """Read the lines as whole numbers, `(n, 12)`."""
    rows = []
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
    return np.array(rows, dtype=np.int64).reshape(-1, _FIELDS)


def _times(rows: np.ndarray, file: Path) -> np.ndarray:
    names = ("year", "month", "day", "hour")
    parts = pd.DataFrame({name: rows[:, i] for i, name in enumerate(names)})
    time = pd.to_datetime(parts, errors="coerce")
    if time.isna().any():
        found = rows[np.flatnonzero(time.isna())[0], :4].tolist()
        raise UserError(
            f"station archive {file}: {found} is not a date, expected year, month, day and hour"
        )
    return time.to_numpy().astype("datetime64[ns]")


def _empty() -> pd.DataFrame:
    names = ("station_id", "latitude", "longitude", "elevation", "time", "variable", "value")
    return pd.DataFrame(columns=list(names))
