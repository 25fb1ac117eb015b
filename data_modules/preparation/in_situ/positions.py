"""Positions of stations: moved stations, duplicates, and thinning.

All distances are great-circle distances. Of equal stations the first by name is kept, so that the
result does not depend on the order of the archive.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from slams.grid import EARTH_RADIUS_KM

__all__ = ["merge_same_place", "neighbours", "split_moved", "thin"]

# Two stations at one place whose heights differ by more than this (m) are kept apart.
_SAME_HEIGHT = 50.0


def split_moved(table: pd.DataFrame, moved_km: float) -> tuple[pd.DataFrame, dict[str, int]]:
    """Assign one position to each station: join nearby ones, and rename those further away.

    The position with most reports keeps the station's name, the next is `NAME/2`, and so on.

    Args:
        table: Long table of `sources.stations.reports.table`.
        moved_km: Distance (km) beyond which a station has moved.

    Returns:
        The table with one position per name, and the numbers of joined and split positions.
    """
    places = (
        table.groupby(["station_id", "latitude", "longitude", "elevation"], dropna=False)
        .size()
        .rename("reports")
        .reset_index()
        .sort_values(
            ["station_id", "reports", "latitude", "longitude"],
            ascending=[True, False, True, True],
            kind="stable",
            ignore_index=True,
        )
    )
    several = places["station_id"].duplicated(keep=False)
    renamed, joined, moved = {}, 0, 0
    for name, own in places[several].groupby("station_id"):
        anchors: list[pd.Series] = []
        for _, place in own.iterrows():
            near = [a for a in anchors if _distance(a, place) <= moved_km]
            if near:
                joined += 1
                anchor = near[0]
            else:
                anchor = place.copy()
                anchor["station_id"] = name if not anchors else f"{name}/{len(anchors) + 1}"
                moved += bool(anchors)
                anchors.append(anchor)
            renamed[_place_key(place)] = anchor
    if renamed:
        columns = ["station_id", "latitude", "longitude", "elevation"]
        table = table.copy()
        mine = table["station_id"].isin(places.loc[several, "station_id"])
        keys = list(map(_place_key, table.loc[mine, columns].to_dict("records")))
        for column in columns:
            table.loc[mine, column] = [renamed[key][column] for key in keys]
    counts = {"positions of a station joined": joined, "moved stations split": moved}
    return table, {k: v for k, v in counts.items() if v}


def merge_same_place(
    stations: pd.DataFrame, values: np.ndarray, same_place_km: float
) -> np.ndarray:
    """Keep one of several stations at the same place: the one with most values.

    Args:
        stations: `P` rows with latitude, longitude and elevation, sorted by name.
        values: `(P,)` number of values per station.
        same_place_km: Distance (km) up to which two stations are at the same place.

    Returns:
        `(P,)` bool, True for stations that are kept.
    """
    heights = stations["elevation"].to_numpy()
    kept = np.ones(len(stations), dtype=bool)
    order = np.argsort(-values, kind="stable")
    near = neighbours(*_places(stations), same_place_km)
    for index in order:
        if not kept[index]:
            continue
        for other in near[index]:
            apart = abs(heights[other] - heights[index])
            # An unknown height does not separate two stations.
            if other != index and not apart > _SAME_HEIGHT:
                kept[other] = False
    return kept


def thin(stations: pd.DataFrame, values: np.ndarray, distance_km: float) -> np.ndarray:
    """Thin stations greedily: no two stations that are kept are closer than a distance.

    Every removed station is within the distance of one with at least as many values that is kept.

    Args:
        stations: `P` rows with latitude and longitude, sorted by name.
        values: `(P,)` number of values per station; those with more take precedence.
        distance_km: Smallest distance (km).

    Returns:
        `(P,)` bool, True for stations that are kept.
    """
    kept = np.ones(len(stations), dtype=bool)
    if distance_km <= 0:
        return kept
    near = neighbours(*_places(stations), distance_km)
    for index in np.argsort(-values, kind="stable"):
        if kept[index]:
            kept[[n for n in near[index] if n != index]] = False
    return kept


def neighbours(latitude: np.ndarray, longitude: np.ndarray, distance_km: float) -> list[list[int]]:
    """List the stations within a distance of each station, including itself.

    Args:
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east.
        distance_km: Distance (km).
    """
    vectors = _vectors(latitude, longitude)
    chord = 2 * math.sin(min(distance_km / EARTH_RADIUS_KM, math.pi) / 2)
    return list(cKDTree(vectors).query_ball_point(vectors, chord))


def _places(stations: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return stations["latitude"].to_numpy(), stations["longitude"].to_numpy()


def _vectors(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    y, x = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1)


def _distance(one: pd.Series, other: pd.Series) -> float:
    a, b = (_vectors(s["latitude"], s["longitude"]) for s in (one, other))
    return 2 * EARTH_RADIUS_KM * math.asin(min(float(np.linalg.norm(a - b)) / 2, 1.0))


def _place_key(place) -> tuple:
    height = place["elevation"]
    height = None if np.isnan(height) else float(height)
    return place["station_id"], float(place["latitude"]), float(place["longitude"]), height
