"""Single harmonics come back alone, and power sums to the mean square."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from slams.grid import LatLonGrid
from slams.metrics.spherical_harmonics import (
    SphericalHarmonics,
    legendre_functions,
    quadrature_weights,
)


def gaussian(rows=24, columns=48):
    sine, _ = np.polynomial.legendre.leggauss(rows)
    latitude = torch.from_numpy(np.rad2deg(np.arcsin(sine))[::-1].copy())
    # As in files, whose coordinates have single precision.
    return LatLonGrid(latitude.float().double(), torch.arange(columns) * 360.0 / columns)


def equiangular(rows=25, columns=48):
    latitude = torch.linspace(90, -90, rows, dtype=torch.float64)
    return LatLonGrid(latitude, torch.arange(columns) * 360.0 / columns)


def harmonic(grid, degree, order):
    """Evaluate the real part of SciPy's orthonormal harmonic, `(H, W)`."""
    latitude, longitude = (x.reshape(grid.shape).numpy() for x in grid.points)
    values = sph_harm_y(degree, order, np.deg2rad(90 - latitude), np.deg2rad(longitude))
    return torch.from_numpy(values.real.copy())


@pytest.mark.parametrize("grid", [gaussian(), equiangular()], ids=["gaussian", "equiangular"])
def test_single_harmonics_come_back_alone(grid):
    transform = SphericalHarmonics(grid)
    assert transform.degree == (23 if grid.shape[0] == 24 else 12)
    for degree, order in ((0, 0), (1, 0), (1, 1), (5, 3), (9, 9), (12, 7), (transform.degree, 2)):
        power = transform.power(harmonic(grid, degree, order))
        expected = torch.zeros(transform.degree + 1).double()
        # The mean over the sphere of |Y|^2 is 1 / 4 pi, half of which its real part has.
        expected[degree] = (1 if order == 0 else 0.5) / (4 * math.pi)
        torch.testing.assert_close(power, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("grid", [gaussian(), equiangular()], ids=["gaussian", "equiangular"])
def test_power_sums_to_the_mean_square(grid):
    g = torch.Generator().manual_seed(0)
    transform = SphericalHarmonics(grid)
    field = torch.zeros(grid.shape, dtype=torch.float64)
    total = 0.0
    for degree in range(transform.degree + 1):
        for order in range(0, degree + 1, 3):
            weight = float(torch.randn(1, generator=g))
            field += weight * harmonic(grid, degree, order)
            total += weight**2 * (1 if order == 0 else 0.5) / (4 * math.pi)
    assert float(transform.power(field).sum()) == pytest.approx(total, rel=1e-5)


def test_a_turn_of_the_sphere_leaves_the_spectrum():
    """About the polar axis, and about an axis in the equator: l = 1 turned is l = 1."""
    grid = gaussian()
    transform = SphericalHarmonics(grid)
    field = harmonic(grid, 6, 2) + harmonic(grid, 11, 5)
    turned = transform.power(field.roll(7, dims=-1))
    torch.testing.assert_close(turned, transform.power(field), rtol=1e-6, atol=1e-12)
    poles, side = (transform.power(harmonic(grid, 1, m) * s) for m, s in ((0, 1), (1, 2**0.5)))
    torch.testing.assert_close(poles, side, rtol=1e-6, atol=1e-12)


def test_leading_axes_pass_through():
    grid = gaussian(12, 24)
    transform = SphericalHarmonics(grid)
    fields = torch.randn(2, 3, *grid.shape, generator=torch.Generator().manual_seed(0))
    power = transform.power(fields)
    assert power.shape == (2, 3, 12)
    torch.testing.assert_close(power[1, 2], transform.power(fields[1, 2]))


def test_weights_on_gaussian_nodes_are_gauss_s():
    nodes, weights = np.polynomial.legendre.leggauss(32)
    found = quadrature_weights(torch.from_numpy(nodes))
    np.testing.assert_allclose(found, weights, rtol=1e-9)
    # Any nodes: exact for polynomials of a degree below their number.
    sine = torch.sin(torch.linspace(1.5, -1.5, 21, dtype=torch.float64))
    found = quadrature_weights(sine)
    assert float((found * sine**20).sum()) == pytest.approx(2 / 21, rel=1e-9)


def test_legendre_functions_are_orthonormal_up_to_high_degrees():
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(140))
    for order in (0, 1, 40, 120):
        functions = legendre_functions(nodes, 127, order)[order:]
        product = (functions * weights) @ functions.T
        torch.testing.assert_close(product, torch.eye(128 - order).double(), rtol=0, atol=1e-10)
