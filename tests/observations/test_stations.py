from __future__ import annotations

import pytest
import torch

from slams.errors import UserError
from slams.observations.stations import StationOperator


def test_station_at_a_grid_point_returns_its_value(grid, channels, generator):
    state = torch.randn(4, 12, 24, generator=generator, dtype=torch.float64)
    operator = StationOperator(grid, channels, "2m_temperature", *grid.points)
    assert torch.equal(operator(state), state[1].reshape(-1))
    latitude, longitude = grid.points
    west = StationOperator(
        grid,
        channels,
        "2m_temperature",
        latitude,
        torch.where(longitude > 180, longitude - 360, longitude),
    )
    assert torch.equal(west(state), state[1].reshape(-1))


def test_station_over_the_date_line_and_over_the_pole(grid, channels):
    state = torch.zeros(4, 12, 24, dtype=torch.float64)
    state[1, 3, 23], state[1, 3, 0] = 8.0, 16.0
    state[1, 0, 2], state[1, 0, 14] = 1.0, 3.0
    operator = StationOperator(
        grid,
        channels,
        "2m_temperature",
        torch.tensor([38.0, 38.0, 90.0, 85.5]),
        torch.tensor([-3.75, 356.25, 30.0, 210.0]),
    )
    expected = torch.tensor([14.0, 14.0, 2.0, 0.75 * 3 + 0.25 * 1], dtype=torch.float64)
    torch.testing.assert_close(operator(state), expected)


def test_elevation_moves_temperature_by_the_lapse_rate(grid, channels):
    latitude = torch.tensor([38.0, 38.0, 38.0])
    longitude = torch.tensor([0.0, 7.5, 30.0])
    terrain = torch.zeros(12, 24, dtype=torch.float64)
    terrain[3, 1] = 400.0
    elevation = torch.tensor([1000.0, 1200.0, torch.nan])
    operator = StationOperator(
        grid, channels, "2m_temperature", latitude, longitude, elevation, terrain, lapse_rate=0.01
    )
    expected = torch.tensor([-10.0, -10.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(operator.offset, expected)
    state = torch.full((2, 4, 12, 24), 280.0, dtype=torch.float64)
    torch.testing.assert_close(operator(state), (280 + expected).expand(2, 3))
    # The adjoint belongs to the linear part: a zero has a zero transpose.
    assert float(operator.adjoint(torch.zeros(3)).abs().max()) == 0


def test_unknown_terrain_under_a_station_means_no_correction(grid, channels):
    terrain = torch.zeros(12, 24)
    terrain[3, 1] = torch.nan
    operator = StationOperator(
        grid,
        channels,
        "2m_temperature",
        torch.tensor([38.0, 38.0]),
        torch.tensor([10.0, 100.0]),
        torch.tensor([500.0, 500.0]),
        terrain,
    )
    torch.testing.assert_close(operator.offset, torch.tensor([0.0, -3.25], dtype=torch.float64))


@pytest.mark.parametrize("channel", ["temperature@850", "total_precipitation_24hr"])
def test_only_near_surface_temperature_follows_the_terrain(grid, channels, channel):
    where = torch.tensor([10.0]), torch.tensor([10.0])
    terrain = torch.zeros(12, 24)
    operator = StationOperator(grid, channels, channel, *where, torch.tensor([900.0]), terrain)
    assert operator.offset is None


@pytest.mark.parametrize(
    ("latitude", "longitude", "message"),
    [
        ([10, 95.5], [0, 0], r"station B: latitude 95.5 lies outside \[-90, 90\] degrees"),
        ([-90.01, 0], [0, 0], r"station A: latitude -90.01"),
        ([0, torch.nan], [0, 0], r"station B: latitude nan"),
        ([0, 0], [0, 361], r"station B: longitude 361 lies outside \[-180, 360\] degrees"),
        ([0, 0], [-181, 0], r"station A: longitude -181"),
        ([0, 0, 0], [0, 0], "same number"),
        ([], [], "at least one"),
    ],
)
def test_refuses_stations_off_the_globe(grid, channels, latitude, longitude, message):
    with pytest.raises(UserError, match=message):
        StationOperator(
            grid,
            channels,
            "2m_temperature",
            torch.tensor(latitude, dtype=torch.float64),
            torch.tensor(longitude, dtype=torch.float64),
            names=("A", "B"),
        )


def test_refuses_a_terrain_of_another_grid(grid, channels):
    where = torch.tensor([10.0]), torch.tensor([10.0])
    with pytest.raises(UserError, match="10 x 10 model terrain; expected 1 stations and 12 x 24"):
        StationOperator(
            grid, channels, "2m_temperature", *where, torch.tensor([1.0]), torch.zeros(10, 10)
        )


def test_stations_without_names_are_numbered(grid, channels):
    with pytest.raises(UserError, match="station number 1: latitude 91"):
        StationOperator(
            grid, channels, "2m_temperature", torch.tensor([1.0, 91.0]), torch.zeros(2)
        )
