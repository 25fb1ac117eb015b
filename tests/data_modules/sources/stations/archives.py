"""Small archives in the exact public formats, written by the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

__all__ = [
    "FIRST",
    "KEY",
    "LAST",
    "ghcn_stations",
    "igra2_sounding",
    "isd_header",
    "isd_row",
    "metar_rows",
    "write_lines",
]

# Where a recipe describes the archive.
KEY = "observations.stations.source"
FIRST, LAST = np.datetime64("2020-01-01"), np.datetime64("2020-01-03")


def write_lines(path: Path, lines: list[str]) -> Path:
    """Write lines of text, compressed if the name ends in .gz."""
    text = "".join(line + "\n" for line in lines)
    if path.suffix == ".gz":
        import gzip

        path.write_bytes(gzip.compress(text.encode("ascii")))
    else:
        path.write_text(text, encoding="ascii")
    return path


def ghcn_stations(path: Path, rows: list[tuple[str, float, float, float]]) -> Path:
    """Write `ghcnd-stations.txt`: ID 1-11, LAT 13-20, LON 22-30, ELEV 32-37, then a name."""
    lines = [
        f"{name:<11} {latitude:8.4f} {longitude:9.4f} {elevation:6.1f}    {'A PLACE':<30}"
        for name, latitude, longitude, elevation in rows
    ]
    return write_lines(path, lines)


def isd_header() -> str:
    """Return the header of an ISD CSV file, with some of its further columns."""
    names = "STATION DATE SOURCE LATITUDE LONGITUDE ELEVATION NAME REPORT_TYPE CALL_SIGN "
    return ",".join(f'"{n}"' for n in (names + "QUALITY_CONTROL WND TMP AA1").split())


def isd_row(
    date: str,
    tmp: str = "+0123,1",
    aa1: str = "",
    kind: str = "FM-12",
    place: tuple[str, str, str] = ("48.25", "16.36", "200.0"),
) -> str:
    """Return one row of an ISD CSV file."""
    fields = ("11035099999", date, "4", *place, "WIEN, AU", kind, "99999", "V020", "")
    return ",".join(f'"{f}"' for f in (*fields, tmp, aa1))


def igra2_sounding(
    stamp: str,
    levels: list[tuple[int, int]],
    name: str = "AUM00011035",
    latitude: float = 48.2333,
    longitude: float = 16.35,
    count: int | None = None,
    release: str = "1134",
) -> list[str]:
    """Return the lines of a sounding: levels are (pressure in Pa, temperature in 0.1 degC)."""
    header = (
        f"#{name} {stamp} {release} {len(levels) if count is None else count:4d} "
        f"{'ncdc-gts':<8} {'':<8} {round(latitude * 1e4):7d} {round(longitude * 1e4):8d}"
    )
    return [
        header,
        *(f"10 -9999 {p:6d}   763B{t:5d}B-9999    22   300    50 " for p, t in levels),
    ]


def metar_rows(**changes: object) -> pd.DataFrame:
    """Return eight METAR reports of one station, one every three hours."""
    time = pd.date_range("2020-01-01T00:53", periods=8, freq="3h")
    rows = pd.DataFrame(
        {
            "stationName": "KABC",
            "latitude": np.float32(40.5),
            "longitude": np.float32(-80.25),
            "elevation": np.float32(282.0),
            "timeObs": time,
            "timeReceived": time + pd.Timedelta(minutes=4),
            "temperature": np.arange(270, 278, dtype=np.float32),
            "temperatureDD": "V",
            "precip1Hour": np.float32(np.nan),
            "precip1HourDD": "Z",
            "precip3Hour": np.float32(0.0005),
            "precip3HourDD": "C",
            "precip6Hour": np.float32(np.nan),
            "precip6HourDD": "Z",
            "precip24Hour": np.float32(np.nan),
            "precip24HourDD": "Z",
        }
    )
    return rows.assign(**changes)
