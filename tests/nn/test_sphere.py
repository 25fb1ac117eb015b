"""Fields continue over the poles by half a turn, and around the globe."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d

from slams.nn.sphere import continue_rows, pad_sphere
from tests.grids import gaussian_grid, grid_with_poles, smooth


def test_an_odd_number_of_longitudes_has_its_half_turn_between_two():
    x = torch.arange(15, dtype=torch.float64).reshape(3, 5)
    padded = continue_rows(x, 1, 1)
    assert torch.equal(padded[1:-1], x)
    torch.testing.assert_close(padded[0], (x[0].roll(2) + x[0].roll(3)) / 2)
    # Opposite to column 0 are columns 2 and 3, and a place is known where both are.
    known = torch.ones(3, 5, dtype=torch.bool)
    known[0, 2] = False
    assert continue_rows(known, 1, 0)[0].tolist() == [False, True, True, True, False]
    # Longitudes are continued by a smooth field with the error of linear interpolation.
    grid = gaussian_grid(20, 45)
    field = smooth(*grid.points).reshape(grid.shape)
    expected = smooth(180 - grid.latitude[:1].expand(45), grid.longitude)
    torch.testing.assert_close(continue_rows(field, 1, 0)[0], expected, rtol=0, atol=5e-3)


def test_padding_meets_the_half_turn_neighbour_and_wraps():
    x = torch.arange(4 * 6, dtype=torch.float64).reshape(4, 6)
    padded = pad_sphere(x, 2)
    assert padded.shape == (8, 10)
    assert torch.equal(padded[2:-2, 2:-2], x)
    for j in range(6):
        assert padded[1, 2 + j] == x[0, (j + 3) % 6]
        assert padded[0, 2 + j] == x[1, (j + 3) % 6]
        assert padded[6, 2 + j] == x[3, (j + 3) % 6]
        assert padded[7, 2 + j] == x[2, (j + 3) % 6]
    assert torch.equal(padded[:, :2], padded[:, 6:8])
    assert torch.equal(padded[:, -2:], padded[:, 2:4])


@pytest.mark.parametrize("make", [gaussian_grid, grid_with_poles])
def test_padding_continues_a_smooth_field_over_the_pole(make):
    grid = make(12, 24)
    n, skip = 3, int(grid.pole_rows)
    field = smooth(*grid.points).reshape(grid.shape)
    latitude = torch.cat(
        [
            180 - grid.latitude[skip : n + skip].flip(0),
            grid.latitude,
            -180 - grid.latitude[12 - n - skip : 12 - skip].flip(0),
        ]
    )
    longitude = torch.arange(-n, 24 + n, dtype=torch.float64) * 15
    # Beyond 90 degrees the polynomial continues along the opposite meridian.
    expected = smooth(*torch.meshgrid(latitude, longitude, indexing="ij"))
    found = pad_sphere(field, n, pole_rows=grid.pole_rows)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_padded_convolution_commutes_with_turning_the_globe():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 3, 6, 8, generator=generator, dtype=torch.float64)
    kernel = torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64)
    turned_after = conv2d(pad_sphere(x, 2), kernel).roll(3, dims=-1)
    turned_before = conv2d(pad_sphere(x.roll(3, dims=-1), 2), kernel)
    assert turned_after.shape == (2, 4, 6, 8)
    torch.testing.assert_close(turned_after, turned_before)


def test_padding_is_differentiable_and_keeps_the_precision():
    x = torch.randn(1, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: pad_sphere(f, 2), (x,))
    for dtype in (torch.bfloat16, torch.float32):
        assert pad_sphere(x.detach().to(dtype), 1).dtype == dtype
    assert torch.equal(pad_sphere(x, 0), x)


@pytest.mark.parametrize(("shape", "n"), [((2, 6), 3), ((4, 2), 3), ((4, 5), 6)])
def test_padding_refuses_more_than_the_grid_has(shape, n):
    with pytest.raises(ValueError, match="cannot pad"):
        pad_sphere(torch.zeros(shape), n)
