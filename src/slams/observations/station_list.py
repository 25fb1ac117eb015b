"""Reading and checking of lists of stations in CSV files, without importing torch.

Columns id, latitude (degrees north), longitude (degrees east in [-180, 360]) and, optionally,
elevation (m above sea level).
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import NamedTuple

from slams.errors import UserError

__all__ = ["COLUMNS", "Station", "read_station_list"]

COLUMNS = ("id", "latitude", "longitude", "elevation")
_BOUNDS = {"latitude": (-90.0, 90.0), "longitude": (-180.0, 360.0)}


class Station(NamedTuple):
    """A station and its position; the elevation is NaN if it is unknown."""

    id: str
    latitude: float
    longitude: float
    elevation: float


def read_station_list(path: str | Path) -> list[Station]:
    """Read stations from a CSV file.

    Raises:
        UserError: The file is missing or empty, a column or a value is missing, a value is not a
            number, a name occurs twice, or the position of a station is invalid.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            found = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = found
            records = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"station list {path} cannot be read: {error}") from None
    missing = [c for c in COLUMNS[:3] if c not in found]
    if missing:
        raise UserError(
            f"station list {path} lacks column {', '.join(missing)}; found "
            f"{', '.join(found) or 'nothing'}, expected id,latitude,longitude[,elevation]"
        )
    if not records:
        raise UserError(f"station list {path} contains no station")
    seen: set[str] = set()
    stations = []
    for row, record in enumerate(records, start=1):
        name = (record["id"] or "").strip()
        if not name:
            raise UserError(f"station list {path}: station number {row} has no id")
        if name in seen:
            raise UserError(
                f"station list {path}: station {name} is listed twice; expected distinct names"
            )
        if None in record:  # the key under which csv stores values beyond the last column
            raise UserError(
                f"station list {path}: station {name} has more values than the "
                f"{len(found)} columns {', '.join(found)}"
            )
        seen.add(name)
        stations.append(Station(name, *(_number(path, record, c) for c in COLUMNS[1:])))
    return stations


def _number(path: Path, record: dict[str, str | None], column: str) -> float:
    """Read one number of a record; NaN for an elevation that is not given."""
    text = (record.get(column) or "").strip()
    if column == "elevation" and not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
        if text.lower() != "nan":
            raise UserError(
                f"station list {path}: {column} of station {record.get('id')} is {text!r}; "
                f"expected a number"
            ) from None
    if column not in _BOUNDS:
        if math.isinf(value):
            raise UserError(
                f"station list {path}: {column} of station {record.get('id')} is {text!r}; "
                f"expected metres above sea level"
            )
        return value
    low, high = _BOUNDS[column]
    if not low <= value <= high:  # written so that NaN counts as outside
        raise UserError(
            f"station list {path}: station {record.get('id')}: {column} {value:g} lies outside "
            f"[{low:g}, {high:g}] degrees"
        )
    return value
