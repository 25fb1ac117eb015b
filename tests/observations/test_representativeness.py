"""Representativeness error: the spacing of the grid, and its cube root."""

from __future__ import annotations

import math

import pytest
import torch

from slams.grid import EARTH_RADIUS_KM, LatLonGrid
from slams.observations.representativeness import grid_spacing_km, representativeness_sd


def grid(rows: int, columns: int) -> LatLonGrid:
    latitude = 90 - 180 / rows * (torch.arange(rows, dtype=torch.float64) + 0.5)
    return LatLonGrid(latitude, 360 / columns * torch.arange(columns, dtype=torch.float64))


def test_spacings_square_to_the_area_of_the_earth():
    g = grid(36, 72)
    spacing = grid_spacing_km(g, g.latitude)
    total = (spacing**2).sum() * 72
    assert float(total) == pytest.approx(4 * math.pi * EARTH_RADIUS_KM**2, rel=1e-12)
    # The cell nearest the equator is nearly a square of 5 degrees.
    side = math.radians(5) * EARTH_RADIUS_KM
    assert float(spacing[18]) == pytest.approx(side, rel=2e-3)


def test_poles_and_cell_bounds_have_a_cell():
    g = grid(36, 72)
    spacing = grid_spacing_km(g, torch.tensor([90.0, 89.0, -90.0, 2.5]))
    assert float(spacing[0]) == float(spacing[1]) == pytest.approx(float(spacing[2]))
    assert torch.isfinite(spacing).all()


def test_the_error_grows_with_the_cube_root_of_the_spacing():
    equator = torch.tensor([0.1])
    coarse, fine = grid(18, 36), grid(144, 288)
    ratio = representativeness_sd(1.5, 100.0, coarse, equator) / representativeness_sd(
        1.5, 100.0, fine, equator
    )
    assert float(ratio) == pytest.approx(2.0, rel=2e-3)
    spacing = float(grid_spacing_km(coarse, equator))
    assert float(representativeness_sd(1.5, spacing, coarse, equator)) == pytest.approx(1.5)


def test_without_a_stated_spacing_it_is_the_same_everywhere():
    latitude = torch.tensor([0.0, 60.0, -89.0])
    assert representativeness_sd(0.7, 0.0, grid(18, 36), latitude).tolist() == [0.7] * 3
