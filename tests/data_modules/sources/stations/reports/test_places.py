"""Positions that cannot be right: off the globe, 0, 0, and the wrong hemisphere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.sources.stations.reports.places import (
    keep_likely,
    keep_on_globe,
    wrong_hemisphere,
)
from data_modules.sources.stations.reports.station_list import read_station_list

# Six stations of one country, one of another, and one without a country.
LISTED = pd.DataFrame(
    {
        "latitude": [40.0, 42.0, 38.0, 44.0, 41.0, 39.0, -35.0, 40.0],
        "longitude": [-75.0, -80.0, -78.0, -82.0, -77.0, -79.0, 149.0, 75.0],
        "country": [*["US"] * 6, "AS", ""],
    },
    index=[f"US{n}" for n in range(6)] + ["AS0", "SHIP"],
)


def places(**positions: tuple[float, float]) -> pd.DataFrame:
    rows = [(name, *position) for name, position in positions.items()]
    return pd.DataFrame(rows, columns=["station_id", "latitude", "longitude"])


@pytest.mark.parametrize(
    ("position", "wrong"),
    [
        ((40.0, -75.0), False),
        ((40.0, 75.0), True),  # the sign of the longitude is lost
        ((-40.0, -75.0), True),
        ((-40.0, 75.0), True),
        ((40.0, 285.0), False),
        ((61.0, -150.0), False),  # far from the others, and so are its mirror images
    ],
)
def test_a_lost_sign_shows_against_the_others_of_the_country(position, wrong) -> None:
    listed = LISTED.copy()
    listed.loc["US0", ["latitude", "longitude"]] = position
    found = wrong_hemisphere(places(US0=position, US1=(42.0, -80.0)), listed)
    assert found.tolist() == [wrong, False]
    # The list may be right and the archive wrong.
    assert wrong_hemisphere(places(US0=position), LISTED).tolist() == [wrong]


def test_a_single_neighbour_is_enough_to_be_believed() -> None:
    """Two stations far from the others are no lost sign, wherever the list puts the first."""
    listed = LISTED.copy()
    listed.loc["US1", ["latitude", "longitude"]] = (41.0, 75.0)
    assert wrong_hemisphere(places(US0=(40.0, 75.0)), listed).tolist() == [False]


def test_without_a_country_or_enough_others_nothing_is_said() -> None:
    asked = places(AS0=(35.0, 149.0), SHIP=(40.0, 75.0), NEW=(40.0, 75.0))
    assert wrong_hemisphere(asked, LISTED).tolist() == [False] * 3
    few = LISTED[LISTED.index.isin(["US0", "US1", "US2"])]
    assert wrong_hemisphere(places(US0=(40.0, 75.0)), few).tolist() == [False]


def test_no_position_of_a_real_list_is_wrong_and_every_lost_sign_is_far(shared_data) -> None:
    path = shared_data / "real" / "igra2-station-list.txt"
    if not path.exists():
        pytest.skip("the real list is not there")
    listed = read_station_list(str(path), "key", "igra2-station-list.txt")
    there = listed[listed["latitude"].between(-90, 90)]
    asked = there[["latitude", "longitude"]].rename_axis("station_id").reset_index()
    assert asked[wrong_hemisphere(asked, listed)]["station_id"].tolist() == []
    # Signs lost in North America, Australia and Vienna's country.
    lost = asked[asked["station_id"].isin(["USM00072403", "ASM00094672", "CAM00071722"])]
    assert len(lost) == 3
    flipped = lost.assign(longitude=-lost["longitude"])
    assert wrong_hemisphere(flipped, listed).all()


def test_positions_are_left_out_and_counted() -> None:
    table = places(
        US0=(40.0, 75.0), NUL=(0.0, 0.0), OFF=(95.0, 10.0), BLANK=(np.nan, 10.0), US1=(42.0, -80.0)
    )
    account = Accounting("archive", limit=0.9)
    found = keep_likely(keep_on_globe(table, account), account, LISTED)
    assert found["station_id"].tolist() == ["US1"]
    assert {one.why: one.number for one in account.records} == {
        "position missing or outside the globe": 2,
        "position 0, 0": 1,
        "position on the wrong hemisphere": 1,
    }
    assert "station NUL is at 0, 0" in account.records[1].example
    # On the equator or the meridian of Greenwich is a place like others.
    account = Accounting("archive", limit=0.9)
    kept = keep_likely(places(A=(0.0, 10.0), B=(51.5, 0.0)), account)
    assert len(kept) == 2
    assert account.records == ()
