"""The coastline asset is the world's, and maps put it where the fields are."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from slams.metrics.land_sea_mask import coastlines
from slams.report.coastlines import cell_edges, wrap_longitudes
from slams.report.mapdata import area_rmse


def test_the_asset_is_small_and_says_where_it_comes_from() -> None:
    folder = files("slams")
    assert len(folder.joinpath("coastline_110m.json").read_bytes()) < 150_000
    origin = folder.joinpath("coastline_110m.txt").read_text(encoding="utf-8")
    assert "Natural Earth" in origin
    assert "public domain" in origin


def test_lines_stay_on_the_globe_and_never_cross_the_date_line() -> None:
    for line in coastlines():
        assert len(line) > 1
        assert np.abs(line[:, 0]).max() <= 180
        assert np.abs(line[:, 1]).max() <= 90
        assert np.abs(np.diff(line[:, 0])).max() < 20
    assert len(coastlines()) > 100


@pytest.mark.parametrize(
    ("longitude", "latitude", "land"),
    [
        (134, -25, True),  # Australia
        (47, -19, True),  # Madagascar
        (-42, 72, True),  # Greenland
        (-60, -10, True),  # South America
        (20, 20, True),  # Africa
        (-150, 0, False),  # Pacific
        (-30, 30, False),  # Atlantic
        (80, -30, False),  # Indian Ocean
    ],
)
def test_land_is_inside_a_line(longitude: float, latitude: float, land: bool) -> None:
    closed = [line for line in coastlines() if np.allclose(line[0], line[-1])]
    # Afro-Eurasia reaches the date line, where its outline is open: cast a ray to the south pole.
    crossings = 0
    for line in coastlines():
        x, y = line[:-1], line[1:]
        spans = (x[:, 0] > longitude) != (y[:, 0] > longitude)
        a, b = x[spans], y[spans]
        at = a[:, 1] + (longitude - a[:, 0]) / (b[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
        crossings += int((at < latitude).sum())
    # The ray ends in Antarctica, on land.
    assert (crossings % 2 == 0) is land
    if land and longitude != 20:
        assert any(Outline(line).contains_point((longitude, latitude)) for line in closed)


def test_the_seam_falls_on_the_date_line_and_leaves_no_gap() -> None:
    longitude = np.arange(8) * 45.0
    turned, values = wrap_longitudes(longitude, np.stack([longitude, 2 * longitude]))
    assert turned.tolist() == [-180, -135, -90, -45, 0, 45, 90, 135, 180]
    assert values[0].tolist() == [180, 225, 270, 315, 0, 45, 90, 135, 180]
    assert values.shape == (2, 9)
    assert np.allclose(values[0] % 360, turned % 360)


def test_cells_reach_the_poles_in_either_order() -> None:
    down, across = cell_edges(np.array([60.0, 0.0, -60.0]), np.array([-180.0, -90.0, 0.0]))
    assert down.tolist() == [90, 30, -30, -90]
    assert across.tolist() == [-225, -135, -45, 45]
    up, _ = cell_edges(np.array([-60.0, 0.0, 60.0]), np.array([0.0, 1.0]))
    assert up.tolist() == [-90, -30, 30, 90]


def test_map_errors_are_weighted_by_area() -> None:
    # The belt within 30 degrees of the equator is half of the globe.
    latitude = np.array([60.0, 0.0, -60.0])
    error = np.array([[0.0, 0.0], [2.0, np.nan], [0.0, 0.0]])
    assert area_rmse(error, latitude) == pytest.approx(np.sqrt(4 * 0.25 / 0.75))
    assert area_rmse(np.full((3, 2), -1.5), latitude) == pytest.approx(1.5)
