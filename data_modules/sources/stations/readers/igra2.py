"""Reader of IGRA 2 (NOAA NCEI): radiosoundings as text, one file per station.

A sounding consists of a header and NUMLEV lines of fixed width::

    header   ID 2-12, year 14-17, month 19-20, day 22-23, hour 25-26, release time 28-31,
             NUMLEV 33-36, LAT 56-62, LON 64-71
    level    PRESS (Pa) 10-15, TEMP (0.1 degrees Celsius) 23-27

LAT and LON are degrees times 10,000. -9999 is missing; -8888 was removed by the archive's quality
control, and counts here as rejected. Elevations are in `igra2-station-list.txt` (ID 1-11,
latitude 13-20, longitude 22-30, elevation 32-37), and are optional: levels do not need them.

The hour is the nominal one; where it is 99 the release time is used.

Source: Durre et al. 2018, doi 10.1175/JTECH-D-17-0223.1, and the archive's format description.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.request import ReportRequest, open_text
from data_modules.sources.stations.reports.station_list import locate, read_station_list
from data_modules.sources.stations.reports.table import StationReports
from slams.errors import UserError

__all__ = ["read_igra2"]

_MISSING, _REMOVED = -9999, -8888
_COLUMNS = ("line", "station_id", "latitude", "longitude", "time", "level", "value")


def read_igra2(request: ReportRequest) -> StationReports:
    """Read temperature profiles.

    Args:
        request: What is requested, only temperature; `config.path` is a file (`...-data.txt`,
            `.gz`), a directory of them, or a pattern, `config.station_list` is
            `igra2-station-list.txt`, or "" for unknown elevations.

    Raises:
        UserError: A file has another layout or is truncated, or a station is not in the list.
    """
    listed = request.config.station_list
    stations = None
    if listed:
        stations = read_station_list(listed, request.key, "igra2-station-list.txt")
    parts = []
    for file in request.files("-data.txt", "-data.txt.gz"):
        rows = pd.DataFrame(_levels(file, request), columns=list(_COLUMNS))
        # Mobile platforms are listed without a position; their soundings have one.
        rows["elevation"] = np.nan
        if stations is not None:
            rows["elevation"] = locate(rows["station_id"], stations, listed, file)["elevation"]
        parts.append(_table(rows, request))
    return request.reports(
        parts,
        {
            "day": "UTC; nominal hour of the sounding",
            "flags": "-8888 was removed by the archive's quality control",
        },
    )


def _table(rows: pd.DataFrame, request: ReportRequest) -> pd.DataFrame:
    """Leave out missing and repeated levels, and convert the units."""
    floating = rows["level"].isin([_MISSING, _REMOVED])
    missing = ~floating & rows["value"].eq(_MISSING)
    request.repairs["missing temperatures (-9999) left out"] += int(missing.sum())
    request.repairs["levels without pressure left out"] += int(floating.sum())
    rows = rows[~floating & ~missing]
    repeated = rows.duplicated(["line", "level"])
    request.repairs["repeated levels of a sounding dropped"] += int(repeated.sum())
    rows = rows[~repeated]
    removed = rows["value"].eq(_REMOVED)
    return rows.assign(
        time=rows["time"].astype("datetime64[ns]"),
        variable="temperature",
        level=rows["level"] / 100,
        value=(rows["value"] / 10 + 273.15).where(~removed),
        accepted=~removed,
        reason=np.where(removed, "flag: removed by the archive (-8888)", ""),
    )


def _levels(
    file: Path, request: ReportRequest
) -> Iterator[tuple[int, str, float, float, np.datetime64, int, int]]:
    """Yield the levels of the requested days, `_COLUMNS`.

    The line is that of the sounding's header; latitude and longitude are in degrees, the level in
    Pa, the value is the code of the temperature.
    """
    with open_text(file, f"{request.key}.path") as text:
        lines = enumerate(text, start=1)
        for number, line in lines:
            if not line.strip():
                continue
            if line[0] != "#":
                raise UserError(
                    f"station archive {file}: line {number} is {line.rstrip()[:40]!r}, expected "
                    f"the header of a sounding, which starts with #"
                )
            try:
                name, count, time = line[1:12].strip(), int(line[32:36]), _time(line)
                latitude, longitude = int(line[55:62]) / 1e4, int(line[63:71]) / 1e4
            except ValueError:
                raise UserError(
                    f"station archive {file}: line {number} is not the header of an IGRA 2 "
                    f"sounding: {line.rstrip()!r}"
                ) from None
            inside = request.first <= time < request.last + np.timedelta64(1, "D")
            header = number
            for _ in range(count):
                number, level = next(lines, (number, ""))
                if not level.strip() or level[0] == "#":
                    raise UserError(
                        f"station archive {file}: the sounding of {name} at {time} ends at line "
                        f"{number}, expected {count} levels; the file is truncated"
                    )
                try:
                    pressure, temperature = int(level[9:15]), int(level[22:27])
                except ValueError:
                    raise UserError(
                        f"station archive {file}: line {number} is not a level of an IGRA 2 "
                        f"sounding: {level.rstrip()!r}"
                    ) from None
                if inside:
                    yield header, name, latitude, longitude, time, pressure, temperature


def _time(header: str) -> np.datetime64:
    year, month, day, hour = (
        int(header[a:b]) for a, b in ((13, 17), (18, 20), (21, 23), (24, 26))
    )
    minute = 0
    if hour == 99:
        hour, minute = int(header[27:29]), int(header[29:31])
        if hour == 99:
            raise ValueError("neither a nominal hour nor a release time")
        minute = 0 if minute == 99 else minute
    return np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}", "m")
