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

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.files import archive_files, open_text
from data_modules.sources.stations.reports.table import StationReports, station_reports
from slams.config.schema import StationSourceConfig
from slams.errors import UserError

__all__ = ["read_igra2", "read_igra2_stations"]


def read_igra2(
    config: StationSourceConfig,
    variables: Sequence[str],
    first: np.datetime64,
    last: np.datetime64,
    key: str,
) -> StationReports:
    """Read temperature profiles.

    Args:
        config: The archive's section of the recipe; `path` is a file (`...-data.txt`, `.gz`), a
            directory of them, or a pattern, `station_list` is `igra2-station-list.txt`, or "" for
            unknown elevations.
        variables: Variables to read; a sounding has only temperature.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: A file has another layout or is truncated, or a station is not in the list.
    """
    station_list = config.station_list
    stations = read_igra2_stations(station_list, key) if station_list else None
    repairs = dict.fromkeys(
        (
            "missing temperatures (-9999) left out",
            "levels without pressure left out",
            "repeated levels of a sounding dropped",
        ),
        0,
    )
    columns: dict[str, list] = {name: [] for name in ("id", "place", "time", "level", "value")}
    for file in archive_files(config.path, ("-data.txt", "-data.txt.gz"), key):
        for name, time, place, levels in _soundings(file, key):
            if stations is not None and name not in stations:
                raise UserError(
                    f"station archive {file}: station {name} is not in {station_list}; expected "
                    f"the list of the same archive"
                )
            if not first <= time < last + np.timedelta64(1, "D"):
                continue
            seen: set[int] = set()
            for pressure, temperature in levels:
                if pressure in (-9999, -8888):
                    repairs["levels without pressure left out"] += 1
                elif temperature == -9999:
                    repairs["missing temperatures (-9999) left out"] += 1
                elif pressure in seen:
                    repairs["repeated levels of a sounding dropped"] += 1
                else:
                    seen.add(pressure)
                    for column, item in zip(
                        columns, (name, place, time, pressure / 100, temperature), strict=True
                    ):
                        columns[column].append(item)
    place = np.array(columns["place"], dtype=np.float64).reshape(-1, 2)
    value = np.array(columns["value"], dtype=np.float64)
    removed = value == -8888
    table = pd.DataFrame(
        {
            "station_id": columns["id"],
            "latitude": place[:, 0],
            "longitude": place[:, 1],
            "elevation": [np.nan if stations is None else stations[n] for n in columns["id"]],
            "time": np.array(columns["time"], dtype="datetime64[ns]"),
            "variable": "temperature",
            "level": np.array(columns["level"], dtype=np.float64),
            "value": np.where(removed, np.nan, value / 10 + 273.15),
            "accepted": ~removed,
            "reason": np.where(removed, "flag: removed by the archive (-8888)", ""),
        }
    )
    return station_reports(
        table,
        config.path,
        key,
        {
            "day": "UTC; nominal hour of the sounding",
            "flags": "-8888 was removed by the archive's quality control",
        },
        repairs,
    )


def read_igra2_stations(path: str, key: str) -> dict[str, float]:
    """Read the elevations (m) of `igra2-station-list.txt`, NaN where unknown.

    Mobile platforms are listed without a position; their soundings have one.

    Args:
        path: The file.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: The file is missing, a line has another layout, or a station occurs twice.
    """
    found: dict[str, float] = {}
    with open_text(path, f"{key}.station_list") as file:
        for number, line in enumerate(file, start=1):
            name = line[:11].strip()
            if not name:
                continue
            try:
                float(line[12:20]), float(line[21:30])
                elevation = float(line[31:37])
            except ValueError:
                raise UserError(
                    f"{key}.station_list: line {number} of {path} does not have the fixed-width "
                    f"layout of igra2-station-list.txt: {line.rstrip()[:40]!r}"
                ) from None
            if name in found:
                raise UserError(f"{key}.station_list: station {name} is listed twice in {path}")
            found[name] = np.nan if elevation < -998 else elevation
    return found


def _soundings(
    file: Path, key: str
) -> Iterator[tuple[str, np.datetime64, tuple[float, float], list[tuple[int, int]]]]:
    """Yield station, time, position (degrees) and levels (Pa, code of the temperature)."""
    with open_text(file, f"{key}.path") as text:
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
                name, count = line[1:12].strip(), int(line[32:36])
                time = _time(line)
                place = int(line[55:62]) / 1e4, int(line[63:71]) / 1e4
            except ValueError:
                raise UserError(
                    f"station archive {file}: line {number} is not the header of an IGRA 2 "
                    f"sounding: {line.rstrip()!r}"
                ) from None
            levels = []
            for _ in range(count):
                number, level = next(lines, (number, ""))
                if not level.strip() or level[0] == "#":
                    raise UserError(
                        f"station archive {file}: the sounding of {name} at {time} ends at line "
                        f"{number}, expected {count} levels; the file is truncated"
                    )
                try:
                    levels.append((int(level[9:15]), int(level[22:27])))
                except ValueError:
                    raise UserError(
                        f"station archive {file}: line {number} is not a level of an IGRA 2 "
                        f"sounding: {level.rstrip()!r}"
                    ) from None
            yield name, time, place, levels


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
