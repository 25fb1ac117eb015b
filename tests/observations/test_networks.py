from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import pytest
import torch

from slams.errors import UserError
from slams.grid import EARTH_RADIUS_KM, unit_vectors
from slams.observations.networks import Network, airport_network, read_network


def separations(network: Network) -> torch.Tensor:
    """Great-circle distance (km) from each station to its nearest neighbour."""
    vectors = unit_vectors(network.latitude, network.longitude)
    cosine = vectors @ vectors.T
    cosine.fill_diagonal_(-1)
    return torch.arccos(cosine.max(dim=1).values.clamp(-1, 1)) * EARTH_RADIUS_KM


def test_airports_are_thinned_with_a_separation():
    network = airport_network(400, seed=3)
    assert len(network) == 400
    assert len(set(network.id)) == 400
    again = airport_network(count=400, seed=3)
    assert again.id == network.id
    assert torch.equal(again.elevation, network.elevation)
    assert airport_network(400, seed=4).id != network.id
    apart = separations(network)
    assert float(apart.min()) > 400
    # Few gaps on land: hardly a station has no other within twice the separation.
    assert float((apart < 2 * apart.min()).double().mean()) > 0.9
    # Where land and people are: mostly north, and with some in Antarctica and on islands.
    north = float((network.latitude > 0).double().mean())
    assert 0.55 < north < 0.8


def test_airports_keep_their_own_positions_and_elevations_in_metres():
    airportsdata = pytest.importorskip("airportsdata")
    table = airportsdata.load("ICAO")
    network = airport_network(60, seed=0)
    for i, code in enumerate(network.id):
        assert float(network.latitude[i]) == table[code]["lat"]
        assert float(network.elevation[i]) == pytest.approx(table[code]["elevation"] * 0.3048)
    # Denver stands a mile high: whoever forgot the feet would find 5,434 m.
    assert table["KDEN"]["elevation"] * 0.3048 == pytest.approx(1656, abs=5)


@pytest.fixture
def few_airports(monkeypatch):
    """A table of five airports on the equator, one of them a national code, 1 degree apart."""
    codes = ("AAAA", "BBBB", "CCCC", "DDDD", "US12")
    table = {
        code: {"lat": 0.0, "lon": float(i), "elevation": 1000.0 * i}
        for i, code in enumerate(codes)
    }
    fake = SimpleNamespace(load=lambda kind: {"ICAO": table}[kind])
    monkeypatch.setitem(sys.modules, "airportsdata", fake)


@pytest.mark.usefixtures("few_airports")
def test_thinning_on_a_line_keeps_the_ends_and_leaves_out_national_codes():
    assert airport_network(4).id == ("AAAA", "BBBB", "CCCC", "DDDD")
    for seed in range(5):
        pair = airport_network(2, seed)
        # The first in random order, then the largest separation that still leaves a second.
        assert float((pair.longitude[1] - pair.longitude[0]).abs()) >= 2
        assert pair.elevation.tolist() == [304.8 * x for x in pair.longitude.tolist()]
    with pytest.raises(UserError, match="5 stations requested; expected between 1 and 4"):
        airport_network(5)
    with pytest.raises(UserError, match="0 stations"):
        airport_network(0)


def test_stations_survive_writing_and_reading(tmp_path):
    network = Network(
        ("Vienna, city", "B"),
        torch.tensor([48.25, -12.123456], dtype=torch.float64),
        torch.tensor([16.36, -179.5], dtype=torch.float64),
        torch.tensor([198.0, math.nan], dtype=torch.float64),
    )
    network.write(tmp_path / "stations.csv")
    back = read_network(tmp_path / "stations.csv")
    assert back.id == network.id
    for name in ("latitude", "longitude", "elevation"):
        torch.testing.assert_close(
            getattr(back, name), getattr(network, name), rtol=0, atol=0, equal_nan=True
        )


def test_elevation_may_be_left_out_and_columns_come_in_any_order(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("\ufefflongitude, id,latitude,name\n10.5, A ,-3,x\n", encoding="utf-8")
    network = read_network(path)
    assert network.id == ("A",)
    assert (float(network.latitude), float(network.longitude)) == (-3.0, 10.5)
    assert bool(network.elevation.isnan())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,latitude,longitude\nA,1,2\nB,91,2\n", r"station B: latitude 91 .*\[-90, 90\]"),
        ("id,latitude,longitude\nA,1,-190\n", "station A: longitude -190"),
        ("id,latitude,longitude\nA,1,2\nA,3,4\n", "station A is listed twice"),
        ("id,latitude,longitude\nA,north,2\n", "latitude of station A is 'north'; expected"),
        ("id,latitude,longitude\nA,1\n", "longitude of station A is ''"),
        ("id,latitude,longitude\nA,1,2\nB,1,\n", "longitude of station B is ''"),
        ("id,latitude,longitude,elevation\nA,1,2,high\n", "elevation of station A is 'high'"),
        ("id,lat,lon\nA,1,2\n", "lacks column latitude, longitude; found id, lat, lon"),
        ("id,latitude,longitude\n", "contains no station"),
        ("", "found nothing"),
    ],
)
def test_refuses_lists_with_mistakes(tmp_path, text, message):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_network(path)
    assert str(path) in str(caught.value)


def test_refuses_a_list_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"station list .*none\.csv cannot be read"):
        read_network(tmp_path / "none.csv")
