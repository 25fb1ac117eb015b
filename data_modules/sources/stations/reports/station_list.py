"""Lists of stations that NOAA NCEI publishes with an archive: positions and elevations.

`ghcnd-stations.txt` and `igra2-station-list.txt` are of fixed width: ID 1-11, latitude 13-20,
longitude 22-30 (degrees), elevation 32-37 (m). `isd-history.csv` has a header. Elevations of -998
m and below mean that the elevation is unknown.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data_modules.sources.stations.reports.request import open_text, read_csv
from slams.errors import UserError

__all__ = ["check_positions", "locate", "read_isd_history", "read_station_list"]

_PLACES = {"latitude": slice(12, 20), "longitude": slice(21, 30), "elevation": slice(31, 37)}
_HISTORY = {"LAT": "latitude", "LON": "longitude", "ELEV(M)": "elevation"}


def read_station_list(path: str, key: str, name: str) -> pd.DataFrame:
    """Read a list of fixed width.

    Args:
        path: The file.
        key: Dotted key of the archive in the recipe, for messages.
        name: Usual name of the file, for messages.

    Returns:
        Latitude, longitude (degrees) and elevation (m, NaN where unknown), by station.

    Raises:
        UserError: The file is missing, a line has another layout, or a station occurs twice.
    """
    key = f"{key}.station_list"
    _refuse_none(path, key, name)
    names, places = [], []
    with open_text(path, key) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                places.append([float(line[field]) for field in _PLACES.values()])
            except ValueError:
                raise UserError(
                    f"{key}: line {number} of {path} does not have the fixed-width layout of "
                    f"{name}: {line.rstrip()[:40]!r}"
                ) from None
            names.append(line[:11].strip())
    return _by_station(pd.DataFrame(places, columns=list(_PLACES)), pd.Index(names), path, key)


def read_isd_history(path: str, key: str) -> pd.DataFrame:
    """Read `isd-history.csv`, without the stations that have no position.

    Args:
        path: The file.
        key: Dotted key of the archive in the recipe, for messages.

    Returns:
        Latitude, longitude (degrees) and elevation (m, NaN where unknown), by `USAF-WBAN`.

    Raises:
        UserError: The file is missing or has another layout, or a station occurs twice.
    """
    key = f"{key}.station_list"
    _refuse_none(path, key, "isd-history.csv")
    rows = read_csv(path, key, ("USAF", "WBAN", *_HISTORY), "that of isd-history.csv")
    places = rows[list(_HISTORY)].apply(pd.to_numeric, errors="coerce").rename(columns=_HISTORY)
    stations = _by_station(places, pd.Index(rows["USAF"] + "-" + rows["WBAN"]), path, key)
    return stations.dropna(subset=["latitude", "longitude"])


def check_positions(stations: pd.DataFrame, path: str, key: str) -> None:
    """Refuse impossible coordinates.

    Args:
        stations: Rows of a list.
        path: The file of the list, for messages.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: A station has impossible coordinates.
    """
    fits = stations["latitude"].between(-90, 90) & stations["longitude"].between(-180, 360)
    if not fits.all():
        row = stations[~fits].iloc[0]
        raise UserError(
            f"{key}.station_list: station {row.name} of {path} is at {row['latitude']:g}, "
            f"{row['longitude']:g} degrees, expected -90 to 90, -180 to 360"
        )


def locate(
    names: pd.Series, stations: pd.DataFrame, path: str, where: str | Path, expected: str = ""
) -> pd.DataFrame:
    """Return the rows of a list for some stations, in their order: `(n,)` rows.

    Args:
        names: `(n,)` names of stations in the archive.
        stations: The list.
        path: The file of the list, for messages.
        where: Path of the archive, for messages.
        expected: What is expected in addition to the list of the same archive, for the message.

    Raises:
        UserError: A station is not in the list.
    """
    unknown = names[~names.isin(stations.index)]
    if len(unknown):
        raise UserError(
            f"station archive {where}: station {unknown.iloc[0]} is not in {path} "
            f"({unknown.nunique()} such stations); expected {expected}the list of the same archive"
        )
    return stations.loc[names].reset_index(drop=True)


def _refuse_none(path: str, key: str, name: str) -> None:
    if not path:
        raise UserError(f"key '{key}': found nothing, expected the path of {name}")


def _by_station(places: pd.DataFrame, names: pd.Index, path: str, key: str) -> pd.DataFrame:
    if names.has_duplicates:
        raise UserError(f"{key}: station {names[names.duplicated()][0]} is listed twice in {path}")
    places["elevation"] = places["elevation"].where(places["elevation"] > -998)
    return places.set_index(names)
