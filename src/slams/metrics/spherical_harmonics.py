r"""Spherical harmonic analysis of fields on a latitude-longitude grid.

A field expands in orthonormal functions, `mu` = sin(latitude),

    f(mu, lambda) = sum_{l, |m| <= l} a_lm P_lm(mu) e^{i m lambda},   int |P_lm|^2 dmu = 1

(normalised so that the area mean of |f|^2 is `sum |a_lm|^2 / 2`), and its coefficients are

    a_lm = sum_j w_j P_lm(mu_j) F_m(mu_j),     F_m = Fourier coefficients of row j,

with weights `w_j` that integrate polynomials in `mu` of a degree below the number of rows `H`
exactly. This condition determines them, so that on a Gaussian grid they *are* the Gaussian
weights, exact up to degree 2 H - 1: all `l < H` are then exact. On any other grid the products of
two functions are integrated exactly up to `l = (H - 1) / 2` (Driscoll and Healy 1994, doi
10.1006/aama.1994.1008). The power of a degree is

    power_l = sum_m |a_lm|^2 / 2,     sum_l power_l = area mean of f^2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slams.grid import LatLonGrid

__all__ = ["SphericalHarmonics", "legendre_functions", "quadrature_weights"]

# Degrees beyond this are omitted, because the table of functions grows with their square.
_LARGEST_DEGREE = 127


def quadrature_weights(sine: Tensor) -> Tensor:
    """Compute weights that integrate polynomials over [-1, 1] from their values at given nodes.

    Args:
        sine: `(H,)` float64 distinct nodes, sines of latitudes.

    Returns:
        `(H,)` float64, exact for polynomials of degree below `H`.
    """
    count = len(sine)
    moments = torch.zeros(count, dtype=torch.float64)
    moments[0] = math.sqrt(2)  # of the normalised Legendre polynomials, all others vanish
    return torch.linalg.solve(legendre_functions(sine.cpu(), count - 1, 0), moments)


def legendre_functions(sine: Tensor, degree: int, order: int) -> Tensor:
    """Evaluate the associated Legendre functions of one order, normalised to 1 over [-1, 1].

    Args:
        sine: `(H,)` float64, sines of latitudes.
        degree: Largest degree `L`.
        order: Order `m`, at most `L`.

    Returns:
        `(L + 1, H)` float64, rows below the order zero.
    """
    cosine = (1 - sine.square()).clamp(min=0).sqrt()
    found = torch.zeros(degree + 1, len(sine), dtype=torch.float64)
    start = torch.full_like(sine, math.sqrt(0.5))
    for m in range(1, order + 1):
        start = start * cosine * math.sqrt((2 * m + 1) / (2 * m))
    found[order] = start
    for n in range(order + 1, degree + 1):
        # (Holmes and Featherstone 2002, doi 10.1007/s00190-002-0216-2): stable in float64.
        a = math.sqrt((4 * n * n - 1) / (n * n - order * order))
        found[n] = a * sine * found[n - 1]
        if n > order + 1:
            below = ((n - 1) ** 2 - order**2) / (4 * (n - 1) ** 2 - 1)
            found[n] -= a * math.sqrt(below) * found[n - 2]
    return found


class SphericalHarmonics:
    """Spherical harmonic analysis of fields on one grid.

    Args:
        grid: The grid.

    Attributes:
        degree: Largest degree `L` that is exact for fields without smaller scales.
    """

    def __init__(self, grid: LatLonGrid) -> None:
        rows, columns = grid.shape
        sine = torch.sin(torch.deg2rad(grid.latitude.cpu().double()))
        weights = quadrature_weights(sine)
        exact = rows - 1 if _gaussian(sine, weights) else (rows - 1) // 2
        # Beyond half the number of columns, a wave cannot be distinguished from its alias.
        self.degree = min(exact, (columns - 1) // 2, _LARGEST_DEGREE)
        table = [legendre_functions(sine, self.degree, m) for m in range(self.degree + 1)]
        self._functions = torch.stack(table) * weights  # (m, l, H)

    def power(self, fields: Tensor) -> Tensor:
        """Compute the power spectrum by degree.

        Args:
            fields: `(..., H, W)` without missing values.

        Returns:
            `(..., L + 1)` float64, in the square of the fields' units; its sum is their mean
            square, unless they have scales smaller than that of the largest degree.
        """
        functions = self._functions.to(fields.device)
        waves = torch.fft.rfft(fields.double(), dim=-1, norm="forward")[..., : self.degree + 1]
        real, imaginary = (
            torch.einsum("mlh,...hm->...ml", functions, part) for part in (waves.real, waves.imag)
        )
        square = real.square() + imaginary.square()
        # Westward and eastward waves are complex conjugates; order zero has only one of them.
        return square[..., 0, :] / 2 + square[..., 1:, :].sum(dim=-2)


def _gaussian(sine: Tensor, weights: Tensor) -> bool:
    """Return whether the rows are those of a Gaussian grid, up to the rounding in files."""
    moments = legendre_functions(sine, 2 * len(sine) - 1, 0) @ weights
    return bool(moments[1:].abs().max() < 1e-4)
