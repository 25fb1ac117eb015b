"""Regridding against spherical harmonics, their cell means and values, poles included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data_modules.preparation.regridding import METHODS, Regridder
from data_modules.preparation.target_grid import regular_grid
from slams.grid import LatLonGrid
from slams.metrics.spherical_harmonics import legendre_functions

# Degree and order: zonal and sectoral, across the poles (order 0 and 1) and not.
HARMONICS = [(0, 0), (1, 0), (1, 1), (4, 1), (5, 5), (8, 3), (12, 0), (12, 7)]


def with_poles(rows: int, columns: int) -> LatLonGrid:
    return LatLonGrid(
        torch.linspace(90, -90, rows, dtype=torch.float64),
        360 / columns * torch.arange(columns, dtype=torch.float64),
    )


def values(grid: LatLonGrid, degree: int, order: int) -> np.ndarray:
    """Evaluate `P_lm(sin latitude) cos(m longitude - 1)` at the points of a grid."""
    sine = torch.sin(torch.deg2rad(grid.latitude))
    along = np.cos(order * np.deg2rad(grid.longitude.numpy()) - 1)
    return legendre_functions(sine, degree, order)[degree].numpy()[:, None] * along


def cell_means(grid: LatLonGrid, degree: int, order: int) -> np.ndarray:
    """Integrate the same function over the cells of a grid: along longitude in closed form."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    bounds = np.deg2rad(grid.latitude_bounds.numpy())
    middle, half = (bounds[:-1] + bounds[1:]) / 2, (bounds[:-1] - bounds[1:]) / 2
    latitude = middle[:, None] + half[:, None] * nodes
    function = legendre_functions(torch.from_numpy(np.sin(latitude).ravel()), degree, order)
    function = function[degree].numpy().reshape(latitude.shape)
    area = np.sin(bounds[:-1]) - np.sin(bounds[1:])
    across = (function * np.cos(latitude) * weights).sum(axis=1) * half / area
    width = np.deg2rad(grid.spacing)
    shrunk = np.sinc(order * width / 2 / np.pi)
    return across[:, None] * shrunk * np.cos(order * np.deg2rad(grid.longitude.numpy()) - 1)


def mean(fields: np.ndarray, grid: LatLonGrid) -> float:
    return float((fields.mean(axis=-1, dtype=np.float64) * grid.weights.numpy()).mean())


@pytest.mark.parametrize(("degree", "order"), HARMONICS)
def test_cell_means_become_the_cell_means_of_whole_cells(degree, order):
    """15 degree cells that are unions of 5 degree cells, at the poles and astride 0 and 180."""
    source, target = regular_grid(36, 72), regular_grid(12, 24)
    found = Regridder(source, target, "conservative")(cell_means(source, degree, order))
    np.testing.assert_allclose(found, cell_means(target, degree, order), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("degree", "order"), HARMONICS)
def test_cells_that_are_cut_converge_to_their_means(degree, order):
    target = with_poles(19, 31)  # cells not aligned with the sources', with caps
    errors = []
    for rows, columns in ((45, 90), (90, 180)):
        source = with_poles(rows + 1, columns)
        found = Regridder(source, target, "conservative")(cell_means(source, degree, order))
        errors.append(np.abs(found - cell_means(target, degree, order)).max())
    assert errors[1] <= max(0.7 * errors[0], 1e-13)
    assert errors[1] < 0.02


@pytest.mark.parametrize(("degree", "order"), HARMONICS)
def test_bilinear_is_of_second_order_up_to_the_poles(degree, order):
    target = regular_grid(31, 50)  # rows closer to the poles than those of the sources
    errors = []
    for rows, columns in ((24, 48), (48, 96), (96, 192)):
        source = regular_grid(rows, columns)
        found = Regridder(source, target, "bilinear")(values(source, degree, order))
        errors.append(np.abs(found - values(target, degree, order)).max())
    if degree == 0:
        assert max(errors) < 1e-14
    else:
        assert errors[2] < errors[0] / 10  # 16 for a second-order method
        assert errors[2] < 0.0008 * (1 + degree**2)


@pytest.mark.parametrize("source", [regular_grid(36, 72), with_poles(37, 72)])
@pytest.mark.parametrize("target", [regular_grid(16, 20), with_poles(13, 36)])
def test_global_mean_stays_to_a_millionth_in_single_precision(source, target):
    rng = np.random.default_rng(0)
    fields = (280 + 30 * rng.standard_normal((3, 2, *source.shape))).astype(np.float32)
    found = Regridder(source, target, "conservative").fields(fields)
    assert found.dtype == np.float32
    for before, after in zip(
        fields.reshape(6, *source.shape), found.reshape(6, *target.shape), strict=True
    ):
        assert mean(after, target) == pytest.approx(mean(before, source), rel=1e-7)
    constant = np.full((1, 1, *source.shape), 273.15, np.float32)
    np.testing.assert_array_equal(
        Regridder(source, target, "conservative").fields(constant), np.float32(273.15)
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_turn_of_the_globe_turns_the_result(method):
    """No meridian is treated differently, neither Greenwich nor the date line."""
    source, target = with_poles(19, 72), regular_grid(12, 24)
    fields = np.random.default_rng(1).standard_normal(source.shape)
    regridder = Regridder(source, target, method)
    still = regridder(fields)
    for turn in (1, 11, 12, 23):
        turned = regridder(np.roll(fields, 3 * turn, axis=-1))
        np.testing.assert_allclose(turned, np.roll(still, turn, axis=-1), atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_north_and_south_are_alike(method):
    source, target = with_poles(19, 36), regular_grid(14, 20)
    fields = np.random.default_rng(2).standard_normal(source.shape)
    regridder = Regridder(source, target, method)
    np.testing.assert_allclose(regridder(fields[::-1]), regridder(fields)[::-1], atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_missing_values_keep_a_constant_and_the_mass_of_what_is_known(method):
    source, target = regular_grid(36, 72), regular_grid(12, 24)
    fields = np.random.default_rng(3).standard_normal(source.shape)
    hole = np.random.default_rng(4).random(source.shape) < 0.3
    constant = np.where(hole, np.nan, 5.0)
    found = Regridder(source, target, method)(constant)
    np.testing.assert_allclose(found[np.isfinite(found)], 5.0, rtol=1e-13)
    if method == "bilinear":
        return
    fields[hole] = np.nan
    found = Regridder(source, target, method)(fields)
    blocks = fields.reshape(12, 3, 24 * 3)[:, :, np.r_[71, 0:71]].reshape(12, 3, 24, 3)
    area = source.weights.numpy().reshape(12, 3, 1, 1) * np.isfinite(blocks)
    expected = (np.nan_to_num(blocks) * area).sum(axis=(1, 3)) / area.sum(axis=(1, 3))
    known = np.isfinite(found)
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-12)
    # A cell needs at least half of its area known.
    share = (
        area.sum(axis=(1, 3)) / (3 * source.weights.numpy().reshape(12, 3).sum(axis=1))[:, None]
    )
    np.testing.assert_array_equal(known, share >= 0.5 - 1e-9)
