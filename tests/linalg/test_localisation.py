from __future__ import annotations

import math

import pytest
import torch

from slams.errors import UserError
from slams.linalg.localisation import MAX_HALF_WIDTH_KM, gaspari_cohn
from tests.assimilators.problems import localisation_matrix, small_grid

F64 = torch.float64


def published(z: float) -> float:
    """Write equation 4.10 of Gaspari and Cohn (1999) as printed."""
    if z <= 1:
        return -(z**5) / 4 + z**4 / 2 + 5 / 8 * z**3 - 5 / 3 * z**2 + 1
    if z <= 2:
        rising = z**5 / 12 - z**4 / 2 + 5 / 8 * z**3 + 5 / 3 * z**2
        return rising - 5 * z + 4 - 2 / (3 * z)
    return 0.0


def test_closed_form_values() -> None:
    distance = torch.tensor([0.0, 500.0, 1000.0, 1500.0, 2000.0, 5000.0], dtype=F64)
    found = gaspari_cohn(distance, 1000.0)
    expected = [1.0, 0.684895833333, 5 / 24, 0.016493055556, 0.0, 0.0]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=F64), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_agrees_with_the_published_polynomials(dtype: torch.dtype) -> None:
    z = torch.linspace(0, 2.5, 401, dtype=F64)
    found = gaspari_cohn((z * 3000).to(dtype), 3000.0)
    expected = torch.tensor([published(v) for v in z.tolist()], dtype=F64)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)
    assert found.dtype == dtype
    assert bool((found >= 0).all())
    assert bool((found[z >= 2] == 0).all())
    assert bool((found[1:] <= found[:-1]).all())


def test_infinite_half_width_switches_localisation_off() -> None:
    assert bool((gaspari_cohn(torch.tensor([0.0, 2e4]), math.inf) == 1).all())


@pytest.mark.parametrize("half_width", [0.0, -1.0, math.nan, MAX_HALF_WIDTH_KM * 1.001])
def test_refuses_what_is_no_correlation(half_width: float) -> None:
    with pytest.raises(UserError, match="half-width of the localisation"):
        gaspari_cohn(torch.zeros(1), half_width)


@pytest.mark.parametrize("half_width", [1500.0, 4000.0, MAX_HALF_WIDTH_KM])
def test_is_positive_definite_on_the_sphere(half_width: float) -> None:
    generator = torch.Generator().manual_seed(1)
    latitude = torch.rad2deg(torch.asin(2 * torch.rand(300, generator=generator, dtype=F64) - 1))
    longitude = 360 * torch.rand(300, generator=generator, dtype=F64)
    # Antipodes are where a correlation in space can fail on the sphere.
    latitude, longitude = torch.cat([latitude, -latitude]), torch.cat([longitude, longitude + 180])
    points = latitude, longitude
    matrix = localisation_matrix(small_grid(), points, points, half_width, F64)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-10
