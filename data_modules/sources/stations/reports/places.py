"""Positions of stations that cannot be right: the same checks for every archive.

* A position that is missing, or outside the globe.
* Latitude and longitude both exactly 0: the usual sign of a position that was never filled in.
* A position on the wrong hemisphere of its country. The lists of NOAA NCEI name stations by
  country, so that a lost sign shows: a station is on the wrong hemisphere if no other station of
  its country is within 1,500 km, while with the sign of its latitude or longitude (or both)
  changed there are at least `_FEWEST` within 500 km.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from data_modules.sources.stations.reports.accounting import Accounting
from slams.grid import EARTH_RADIUS_KM

__all__ = ["keep_likely", "keep_on_globe", "wrong_hemisphere"]

_RANGES = (("latitude", -90.0, 90.0), ("longitude", -180.0, 360.0))
_ALONE_KM, _NEAR_KM, _FEWEST = 1500.0, 500.0, 3
_MIRRORS = ((-1, 1), (1, -1), (-1, -1))


def keep_on_globe(table: pd.DataFrame, left_out: Accounting) -> pd.DataFrame:
    """Leave out reports of no station, or whose position is missing or outside the globe.

    Args:
        table: Columns station_id, time, latitude and longitude.
        left_out: The account.
    """
    named = table["station_id"].notna() & table["station_id"].ne("")
    table = left_out.keep(
        table,
        named,
        "station without a name",
        lambda row: f"a report of {row['time']} has no station",
    )
    for name, low, high in _RANGES:
        table = left_out.keep(
            table,
            table[name].between(low, high),
            "position missing or outside the globe",
            lambda row, name=name: (
                f"station {row['station_id']}: {name} {row[name]:g} is outside the globe, it is "
                f"at {row['latitude']:g}, {row['longitude']:g} degrees, expected -90 to 90, "
                f"-180 to 360"
            ),
        )
    return table


def keep_likely(
    table: pd.DataFrame, left_out: Accounting, listed: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Leave out reports whose position is 0, 0 or on the wrong hemisphere of its country.

    Args:
        table: Columns station_id, latitude and longitude, on the globe.
        left_out: The account.
        listed: Latitude, longitude and country of the archive's stations by name; `None` where
            the archive does not state countries.
    """

    def at(row: pd.Series) -> str:
        return f"station {row['station_id']} is at {row['latitude']:g}, {row['longitude']:g}"

    nowhere = table["latitude"].eq(0) & table["longitude"].isin([0.0, 360.0])
    table = left_out.keep(table, ~nowhere, "position 0, 0", at)
    if listed is None or table.empty:
        return table
    columns = ["station_id", "latitude", "longitude"]
    places = table[columns].drop_duplicates()
    wrong = places[wrong_hemisphere(places, listed)]
    if wrong.empty:
        return table
    mine = pd.MultiIndex.from_frame(table[columns]).isin(pd.MultiIndex.from_frame(wrong))
    return left_out.keep(
        table,
        ~mine,
        "position on the wrong hemisphere",
        lambda row: f"{at(row)}, the others of its country are on another hemisphere",
    )


def wrong_hemisphere(places: pd.DataFrame, listed: pd.DataFrame) -> np.ndarray:
    """Return which stations are on the wrong hemisphere of their country.

    Args:
        places: `n` rows with station_id, latitude and longitude.
        listed: Latitude, longitude and country of the archive's stations by name; those without
            a country are not checked.

    Returns:
        `(n,)` bool.
    """
    listed = listed[listed["latitude"].between(-90, 90) & listed["longitude"].between(-180, 360)]
    country = places["station_id"].map(listed["country"]).fillna("").to_numpy()
    wrong = np.zeros(len(places), dtype=bool)
    latitude, longitude = (places[name].to_numpy() for name in ("latitude", "longitude"))
    names = places["station_id"].to_numpy()
    for own in np.unique(country[country != ""]):
        others = listed[listed["country"] == own]
        if len(others) <= _FEWEST:
            continue
        tree = cKDTree(_vectors(others["latitude"].to_numpy(), others["longitude"].to_numpy()))
        (mine,) = np.nonzero(country == own)
        itself = others.index.get_indexer(names[mine])
        # Of the two nearest at least one is another station.
        apart, near = tree.query(_vectors(latitude[mine], longitude[mine]), k=2)
        nearest = np.where(near == itself[:, None], np.inf, apart).min(axis=1)
        alone = nearest > _chord(_ALONE_KM)
        for index, station in zip(mine[alone], itself[alone], strict=True):
            for flip_y, flip_x in _MIRRORS:
                mirrored = _vectors(flip_y * latitude[index], flip_x * longitude[index])
                there = tree.query_ball_point(mirrored, _chord(_NEAR_KM))
                wrong[index] |= len({*there} - {station}) >= _FEWEST
    return wrong


def _chord(km: float) -> float:
    """Return the straight distance on the unit sphere of a great-circle distance."""
    return 2 * math.sin(km / EARTH_RADIUS_KM / 2)


def _vectors(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    y, x = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1)
