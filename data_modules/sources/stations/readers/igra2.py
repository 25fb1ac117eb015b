"""Reader of IGRA 2 (NOAA NCEI): radiosoundings as text, one file per station.

The archive publishes `ID-data.txt.zip` (the whole record) and `ID-data-begYYYY.txt.zip` (since a
year); both are read as they are, and unpacked or compressed with gzip.

A sounding consists of a header and NUMLEV lines of fixed width::

    header   ID 2-12, year 14-17, month 19-20, day 22-23, hour 25-26, release time 28-31,
             NUMLEV 33-36, LAT 56-62, LON 64-71
    level    PRESS (Pa) 10-15, TEMP (0.1 degrees Celsius) 23-27

LAT and LON are degrees times 10,000. -9999 is missing; -8888 was removed by the archive's quality
control, and counts here as rejected. Elevations are in `igra2-station-list.txt` (ID 1-11,
latitude 13-20, longitude 22-30, elevation 32-37), and are optional: levels do not need them.

The hour is the nominal one; where it is 99 the release time is used. A sounding with neither is
left out, as are one whose header or levels have another layout, and one with fewer levels than its
header says, unless the file ends there: it is then truncated, and refused.

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
            `.gz`, `.zip`), a directory of them, or a pattern, `config.station_list` is
            `igra2-station-list.txt`, or "" for unknown elevations.

    Raises:
        UserError: A file is truncated, or too many soundings have another layout, no hour or
            position, or are of stations that are not in the list.
    """
    listed = request.config.station_list
    stations = None
    if listed:
        stations = read_station_list(listed, request.key, "igra2-station-list.txt")
    parts = []
    for file in request.files(".txt", ".txt.gz", ".txt.zip", name=r"-data(-beg\d{4})?\.txt"):
        rows = _table(pd.DataFrame(_levels(file, request), columns=list(_COLUMNS)), file, request)
        # Mobile platforms are listed without a position; their soundings have one.
        rows["elevation"] = np.nan
        if stations is not None:
            rows = locate(rows, stations, listed, request.left_out, ("elevation",))
        parts.append(rows)
    return request.reports(
        parts,
        {
            "day": "UTC; nominal hour of the sounding",
            "flags": "-8888 was removed by the archive's quality control",
        },
        stations,
    )


def _table(rows: pd.DataFrame, file: Path, request: ReportRequest) -> pd.DataFrame:
    """Leave out missing and repeated levels and soundings without an hour; convert the units."""
    floating = rows["level"].isin([_MISSING, _REMOVED])
    missing = ~floating & rows["value"].eq(_MISSING)
    request.repairs["missing temperatures (-9999) left out"] += int(missing.sum())
    request.repairs["levels without pressure left out"] += int(floating.sum())
    rows = rows[~floating & ~missing]
    repeated = rows.duplicated(["line", "level"])
    request.repairs["repeated levels of a sounding dropped"] += int(repeated.sum())
    rows = rows[~repeated]
    rows = rows.assign(time=rows["time"].astype("datetime64[ns]"))
    rows = request.left_out.keep(
        rows,
        rows["time"].notna(),
        "sounding without an hour",
        lambda row: (
            f"{file}: the sounding of {row['station_id']} at line {row['line']} has neither a "
            f"nominal hour nor a release time, its line is not the header of a sounding"
        ),
    )
    removed = rows["value"].eq(_REMOVED)
    return rows.assign(
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
    end = request.last + np.timedelta64(1, "D")
    account = request.left_out
    for header, sounding in _soundings(file, f"{request.key}.path"):
        number, line = header
        try:
            name, count, day, time = line[1:12].strip(), int(line[32:36]), *_time(line)
            latitude, longitude = _degrees(line[55:62]), _degrees(line[63:71])
            if not name.isalnum():
                raise ValueError(name)
        except ValueError:
            kind = (
                "the header of an IGRA 2 sounding"
                if line.startswith("#")
                else ("the header of a sounding, which starts with #")
            )
            found = f"{file}: line {number} is not {kind}: {line.rstrip()[:80]!r}"
            account.add("sounding of another layout", max(len(sounding), 1), found)
            continue
        levels = list(map(_codes, sounding))
        wrong = [position for position, level in enumerate(levels) if level is None]
        if len(levels) != count or wrong:
            found = f"{file}: the sounding of {name} on {day} has {len(levels)} levels"
            found += f", expected {count} levels"
            if wrong:
                at = number + 1 + wrong[0]
                found = f"{file}: line {at} is not a level of an IGRA 2 sounding: "
                found += repr(sounding[wrong[0]].rstrip()[:60])
            account.add("sounding of another layout", max(len(levels), 1), found)
            continue
        if not request.first <= day < end:
            continue
        for level in levels:
            yield number, name, latitude, longitude, time, *level  # type: ignore[misc]


def _soundings(file: Path, key: str) -> Iterator[tuple[tuple[int, str], list[str]]]:
    """Yield the header of each sounding with its line number, and the lines of its levels."""
    header: tuple[int, str] | None = None
    levels: list[str] = []
    with open_text(file, key) as text:
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            if header is None or line[0] == "#":
                if header is not None:
                    yield header, levels
                header, levels = (number, line), []
            else:
                levels.append(line)
    if header is not None:
        _refuse_truncated(file, header[1], len(levels))
        yield header, levels


def _refuse_truncated(file: Path, header: str, levels: int) -> None:
    """Refuse a file whose last sounding has fewer levels than its header says."""
    count = header[32:36].strip()
    if header.startswith("#") and count.isdigit() and levels < int(count):
        raise UserError(
            f"station archive {file}: the last sounding has {levels} levels, expected {count} "
            f"levels; the file is truncated"
        )


# Columns of a level to the end of its temperature: a shorter line was cut, maybe within a number.
_SHORTEST = 27


def _codes(level: str) -> tuple[int, int] | None:
    """Return pressure (Pa) and the code of the temperature of a level, `None` without them."""
    if len(level.rstrip()) < _SHORTEST:
        return None
    try:
        return int(level[9:15]), int(level[22:27])
    except ValueError:
        return None


def _degrees(text: str) -> float:
    """Return a position, NaN where it is blank."""
    return int(text) / 1e4 if text.strip() else np.nan


def _time(header: str) -> tuple[np.datetime64, np.datetime64]:
    """Return the day and the time of a sounding; the time is NaT where it has no hour."""
    year, month, day, hour = (
        int(header[a:b]) for a, b in ((13, 17), (18, 20), (21, 23), (24, 26))
    )
    minute = 0
    if hour == 99:
        hour, minute = int(header[27:29]), int(header[29:31])
        minute = 0 if minute == 99 else minute
    date = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "D")
    if hour == 99:
        return date, np.datetime64("NaT", "m")
    return date, np.datetime64(f"{date}T{hour:02d}:{minute:02d}", "m")
