"""Lists of stations that NOAA NCEI publishes with an archive: positions and elevations.

`ghcnd-stations.txt` and `igra2-station-list.txt` are of fixed width: ID 1-11, latitude 13-20,
longitude 22-30 (degrees), elevation 32-37 (m). `isd-history.csv` has a header. Elevations of -998
m and below mean that the elevation is unknown. A station's country is that of its list (`CTRY`),
or the first two letters of its name; ships and other platforms that move have none (`ZZ`).
"""

from __future__ import annotations

import pandas as pd

from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.sources.stations.reports.request import open_text, read_csv
from slams.errors import UserError

__all__ = ["countries", "locate", "read_isd_history", "read_station_list"]

_PLACES = {"latitude": slice(12, 20), "longitude": slice(21, 30), "elevation": slice(31, 37)}
_HISTORY = {"LAT": "latitude", "LON": "longitude", "ELEV(M)": "elevation"}


def read_station_list(path: str, key: str, name: str) -> pd.DataFrame:
    """Read a list of fixed width.

    Args:
        path: The file.
        key: Dotted key of the archive in the recipe, for messages.
        name: Usual name of the file, for messages.

    Returns:
        Latitude, longitude (degrees), elevation (m, NaN where unknown) and country, by station.

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
    places = pd.DataFrame(places, columns=list(_PLACES))
    places["country"] = countries(pd.Series(names, dtype=object))
    return _by_station(places, pd.Index(names), path, key)


def read_isd_history(path: str, key: str) -> pd.DataFrame:
    """Read `isd-history.csv`, without the stations that have no position.

    Args:
        path: The file.
        key: Dotted key of the archive in the recipe, for messages.

    Returns:
        Latitude, longitude (degrees), elevation (m, NaN where unknown) and country, by
        `USAF-WBAN`.

    Raises:
        UserError: The file is missing or has another layout, or a station occurs twice.
    """
    key = f"{key}.station_list"
    _refuse_none(path, key, "isd-history.csv")
    rows = read_csv(path, key, ("USAF", "WBAN", *_HISTORY), "that of isd-history.csv")
    places = rows[list(_HISTORY)].apply(pd.to_numeric, errors="coerce").rename(columns=_HISTORY)
    places["country"] = rows["CTRY"].str.strip() if "CTRY" in rows else ""
    stations = _by_station(places, pd.Index(rows["USAF"] + "-" + rows["WBAN"]), path, key)
    return stations.dropna(subset=["latitude", "longitude"])


def countries(names: pd.Series) -> pd.Series:
    """Return the countries of stations that NOAA NCEI names by country, "" for the others."""
    coded = names.str.fullmatch(r"[A-Z]{2}[0-9A-Z]{3}[0-9A-Z_-]{6}") & ~names.str.startswith("ZZ")
    return names.str[:2].where(coded.astype(bool), "")


def locate(
    table: pd.DataFrame,
    stations: pd.DataFrame,
    path: str,
    left_out: Accounting,
    columns: tuple[str, ...] = ("latitude", "longitude", "elevation"),
    expected: str = "",
) -> pd.DataFrame:
    """Add the places of a list to a table; stations that are not in the list are left out.

    Args:
        table: A column station_id.
        stations: The list.
        path: The file of the list, for messages.
        left_out: The account.
        columns: Columns of the list to add.
        expected: What is expected in addition to the list of the same archive, for the message.
    """
    table = left_out.keep(
        table,
        table["station_id"].isin(stations.index),
        "station not in the list",
        lambda row: (
            f"station {row['station_id']} is not in {path}, expected {expected}the list of the "
            f"same archive"
        ),
    )
    found = stations.loc[table["station_id"], list(columns)]
    return table.assign(**{name: found[name].to_numpy() for name in columns})


def _refuse_none(path: str, key: str, name: str) -> None:
    if not path:
        raise UserError(f"key '{key}': found nothing, expected the path of {name}")


def _by_station(places: pd.DataFrame, names: pd.Index, path: str, key: str) -> pd.DataFrame:
    if names.has_duplicates:
        raise UserError(f"{key}: station {names[names.duplicated()][0]} is listed twice in {path}")
    places["elevation"] = places["elevation"].where(places["elevation"] > -998)
    return places.set_index(names)
