"""Moved stations, duplicate stations, and thinning."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_modules.preparation.in_situ.positions import merge_same_place, split_moved, thin
from slams.grid import EARTH_RADIUS_KM

DEGREE_KM = np.deg2rad(1) * EARTH_RADIUS_KM


def reports(*places: tuple[str, float, float, float, int]) -> pd.DataFrame:
    rows = [place[:4] for place in places for _ in range(place[4])]
    names = ["station_id", "latitude", "longitude", "elevation"]
    return pd.DataFrame(rows, columns=names).assign(value=np.arange(float(len(rows))))


def stations(latitude, longitude, elevation=None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "latitude": np.asarray(latitude, float),
            "longitude": np.asarray(longitude, float),
            "elevation": np.zeros(len(latitude)) if elevation is None else elevation,
        }
    )


def test_near_positions_are_joined_and_moved_stations_split():
    table = reports(
        ("A", 10.0, 20.0, 5.0, 2),
        ("A", 10.001, 20.0, np.nan, 5),
        ("A", 11.0, 20.0, 5.0, 3),
        ("B", -5.0, 179.9999, 1.0, 2),
        ("B", -5.0, -179.9999, 1.0, 1),
        ("C", 0.0, 0.0, 1.0, 1),
    )
    found, counts = split_moved(table, 1.0)
    assert counts == {"positions of a station joined": 2, "moved stations split": 1}
    places = found.drop_duplicates(["station_id", "latitude", "longitude"])
    assert places[["station_id", "latitude", "longitude"]].values.tolist() == [
        ["A", 10.001, 20.0],
        ["A/2", 11.0, 20.0],
        # Two sides of the date line are one place.
        ["B", -5.0, 179.9999],
        ["C", 0.0, 0.0],
    ]
    assert found["value"].tolist() == table["value"].tolist()
    assert table["station_id"].tolist().count("A") == 10


def test_one_position_a_station_is_left_alone():
    table = reports(("A", 10.0, 20.0, 5.0, 2), ("B", 10.0, 20.0, 5.0, 2))
    found, counts = split_moved(table, 1.0)
    assert counts == {}
    pd.testing.assert_frame_equal(found, table)


def test_one_of_two_stations_at_a_place_stays():
    places = stations([10, 10.0005, 10, 50, 50], [20, 20, 20, 0, 0], [0, 0, 900, np.nan, 0])
    kept = merge_same_place(places, np.array([3, 7, 1, 4, 4]), 0.1)
    # The third is 900 m above; the last two are the same, and the first of equals is kept.
    assert kept.tolist() == [False, True, True, True, False]
    assert merge_same_place(places, np.array([3, 7, 1, 4, 4]), 0.01).sum() == 4


def test_thinning_keeps_a_distance_and_leaves_no_gap():
    rng = np.random.default_rng(0)
    latitude = np.rad2deg(np.arcsin(rng.uniform(-1, 1, 400)))
    longitude = rng.uniform(-180, 180, 400)
    values = rng.integers(1, 30, 400)
    kept = thin(stations(latitude, longitude), values, 1000.0)
    y, x = np.deg2rad(latitude), np.deg2rad(longitude)
    vectors = np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], -1)
    apart = EARTH_RADIUS_KM * np.arccos(np.clip(vectors @ vectors.T, -1, 1))
    np.fill_diagonal(apart, np.inf)
    assert 50 < kept.sum() < 250
    assert apart[kept][:, kept].min() > 1000.0
    for station in np.flatnonzero(~kept):
        near = kept & (apart[station] <= 1000.0)
        # Every removed station has a better one nearby.
        assert values[near].max() >= values[station]


def test_thinning_prefers_more_values_and_then_the_first():
    places = stations([0, 0, 0], [0, 1, 2])
    assert thin(places, np.array([5, 9, 5]), 1.5 * DEGREE_KM).tolist() == [False, True, False]
    assert thin(places, np.array([5, 5, 5]), 1.5 * DEGREE_KM).tolist() == [True, False, True]
    assert thin(places, np.array([5, 5, 5]), 0.0).all()


def test_thinning_crosses_date_line_and_pole():
    places = stations([0, 0, 89.9, 89.9], [179.9, -179.9, 0, 180])
    assert thin(places, np.ones(4), 0.5 * DEGREE_KM).tolist() == [True, False, True, False]
