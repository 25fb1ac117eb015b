from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
import torch

from slams.errors import UserError
from slams.grid import (
    EARTH_RADIUS_KM,
    LatLonGrid,
    block_columns,
    block_rows,
)
from tests.grids import gaussian_grid, grid_with_poles, smooth


def test_weights_are_differences_of_sines_not_cosines():
    weights = grid_with_poles(3, 4).weights
    half = math.sin(math.radians(45))
    expected = torch.tensor([1 - half, 2 * half, 1 - half], dtype=torch.float64) * 1.5
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-12)


def test_weights_fill_the_sphere():
    for grid in (gaussian_grid(48, 96), grid_with_poles(121, 240), gaussian_grid(7, 10)):
        bounds = torch.deg2rad(grid.latitude_bounds)
        area = torch.sin(bounds[:-1]) - torch.sin(bounds[1:])
        assert float(area.sum()) == pytest.approx(2, abs=1e-12)
        torch.testing.assert_close(grid.weights, area / area.mean())
        assert float(grid.weights.mean()) == pytest.approx(1, abs=1e-12)


def test_weights_of_gaussian_latitudes_are_near_the_quadrature():
    grid = gaussian_grid(48, 96)
    quadrature = torch.tensor(np.polynomial.legendre.leggauss(48)[1]) * 24
    ratio = grid.weights / quadrature
    # The midpoint bound of the outermost cell differs slightly; all others agree closely.
    assert float((ratio[1:-1] - 1).abs().max()) < 0.011
    assert float((ratio - 1).abs().max()) < 0.06
    mean_square = (grid.weights * torch.sin(torch.deg2rad(grid.latitude)) ** 2).mean()
    assert float(mean_square) == pytest.approx(1 / 3, rel=2e-3)


def test_equality_survives_single_precision_and_pickling():
    grid = gaussian_grid(48, 96)
    single = LatLonGrid(grid.latitude.float(), grid.longitude.float())
    assert single == grid
    assert hash(single) == hash(grid)
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert gaussian_grid(46, 96) != grid
    assert gaussian_grid(48, 90) != grid
    shifted = LatLonGrid(grid.latitude, grid.longitude + 1.0)
    assert shifted != grid
    torch.testing.assert_close(single.longitude, grid.longitude, rtol=0, atol=0)


def test_to_keeps_coordinates_and_bounds():
    coarse = gaussian_grid(8, 16).coarsen(2)
    moved = coarse.to("meta")
    assert {moved.latitude.device.type, moved.latitude_bounds.device.type} == {"meta"}
    assert moved.weights.device.type == "meta"
    assert moved == coarse
    back = coarse.to("cpu")
    assert torch.equal(back.weights, coarse.weights)


def test_coarse_cells_are_unions_of_fine_cells():
    fine = gaussian_grid(48, 96)
    coarse = fine.coarsen(4)
    assert coarse.shape == (12, 24)
    torch.testing.assert_close(coarse.weights, fine.weights.reshape(12, 4).mean(dim=1))
    assert float(coarse.longitude[0]) == pytest.approx(1.5 * 3.75)
    torch.testing.assert_close(coarse.latitude_bounds, fine.latitude_bounds[::4])


@pytest.mark.parametrize(("rows", "columns", "block"), [(121, 240, 4), (181, 360, 8), (7, 10, 4)])
def test_coarse_points_of_blocks_that_do_not_divide_are_means_of_their_rows(rows, columns, block):
    fine = grid_with_poles(rows, columns)
    coarse = fine.coarsen(block)
    edges = block_rows(rows, block)
    assert coarse.shape == (-(-rows // block), -(-columns // block))
    assert len(edges) == coarse.shape[0] + 1
    # Whole blocks inside, and what is left shared between the poles.
    sizes = [b - a for a, b in itertools.pairwise(edges)]
    assert set(sizes[1:-1]) <= {block}
    assert 0 <= sizes[0] - sizes[-1] <= 1
    means = [fine.latitude[a:b].mean() for a, b in itertools.pairwise(edges)]
    torch.testing.assert_close(coarse.latitude, torch.stack(means), rtol=0, atol=1e-12)
    area = torch.deg2rad(fine.latitude_bounds).sin()[list(edges)].diff()
    torch.testing.assert_close(coarse.weights, area / area.mean())
    starts = torch.tensor(block_columns(columns, block), dtype=torch.float64)
    means = (starts + (block - 1) / 2) * fine.spacing
    assert float((coarse.longitude - means).abs().max()) <= fine.spacing / 2 + 1e-9


@pytest.mark.parametrize(("columns", "block"), [(10, 4), (7, 2), (45, 2), (361, 8), (9, 8)])
def test_blocks_of_columns_cover_the_circle(columns, block):
    starts = block_columns(columns, block)
    held = {(start + i) % columns for start in starts for i in range(block)}
    assert held == set(range(columns))
    overlaps = [block - (b - a) for a, b in itertools.pairwise((*starts, columns))]
    assert max(overlaps) - min(overlaps) <= 1


def test_block_that_does_not_divide_names_those_that_do():
    with pytest.raises(UserError, match=r"block 5 .* 48 x 96 .*: 3, 4, 6"):
        gaussian_grid(48, 96).check_block(5, "block")
    for block in (0, -2, 48):
        with pytest.raises(UserError, match="does not divide"):
            gaussian_grid(48, 96).coarsen(block)


@pytest.mark.parametrize(
    "grid", [gaussian_grid(6, 7), grid_with_poles(7, 8)], ids=["gauss", "pole"]
)
def test_interpolation_gives_grid_points_back_exactly(grid):
    index, weight = grid.interpolation(*grid.points)
    values = torch.randn(len(grid.points[0]), dtype=torch.float64)
    assert torch.equal((values[index] * weight).sum(dim=1), values)
    # In float32, and shifted by 360 degrees, they are still the grid points.
    latitude, longitude = (p.float() for p in grid.points)
    index, weight = grid.interpolation(latitude, longitude - 360)
    assert torch.equal((values[index] * weight).sum(dim=1), values)


@pytest.mark.parametrize(
    "grid", [gaussian_grid(6, 7), grid_with_poles(7, 8)], ids=["gauss", "pole"]
)
def test_interpolation_weights_are_shares(grid):
    generator = torch.Generator().manual_seed(0)
    latitude = torch.rand(500, generator=generator) * 180 - 90
    longitude = torch.rand(500, generator=generator) * 540 - 180
    latitude[:2] = torch.tensor([90.0, -90.0])
    index, weight = grid.interpolation(latitude, longitude)
    assert int(index.min()) >= 0
    assert int(index.max()) < grid.shape[0] * grid.shape[1]
    assert float(weight.min()) >= 0
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(500, dtype=torch.float64))


def test_interpolation_is_bilinear_inside_a_cell():
    grid = grid_with_poles(5, 8)  # 45 degrees each way
    index, weight = grid.interpolation(torch.tensor([45 * 0.75]), torch.tensor([-45 * 0.4]))
    found = torch.zeros(40, dtype=torch.float64)
    found[index[0]] += weight[0]
    expected = torch.zeros(5, 8, dtype=torch.float64)
    expected[1, 7], expected[1, 0] = 0.75 * 0.4, 0.75 * 0.6
    expected[2, 7], expected[2, 0] = 0.25 * 0.4, 0.25 * 0.6
    torch.testing.assert_close(found, expected.reshape(-1))


def test_interpolation_crosses_the_pole_by_the_half_turn():
    grid = gaussian_grid(8, 12)
    top = float(grid.latitude[0])
    for sign, row in ((1, 0), (-1, 7)):
        latitude = torch.tensor([sign * (top + 0.25 * (180 - 2 * top))])
        index, weight = grid.interpolation(latitude, torch.tensor([30.0]))
        found = torch.zeros(96, dtype=torch.float64).index_add(0, index[0], weight[0])
        expected = torch.zeros(8, 12, dtype=torch.float64)
        expected[row, 1], expected[row, 7] = 0.75, 0.25
        torch.testing.assert_close(found, expected.reshape(-1))


def test_interpolation_of_a_smooth_field_converges_with_the_second_order():
    generator = torch.Generator().manual_seed(1)
    latitude = torch.rand(400, generator=generator, dtype=torch.float64) * 180 - 90
    longitude = torch.rand(400, generator=generator, dtype=torch.float64) * 360 - 180
    latitude[:40] = 90 - latitude[:40].abs() / 30
    latitude[40:80] = -latitude[:40]
    truth = smooth(latitude, longitude)
    errors = []
    for rows in (24, 48, 96):
        grid = gaussian_grid(rows, 2 * rows)
        index, weight = grid.interpolation(latitude, longitude)
        found = (smooth(*grid.points)[index] * weight).sum(dim=1)
        errors.append(float((found - truth).abs().max()))
    assert errors[0] < 0.02
    assert 3.3 < errors[0] / errors[1] < 4.7
    assert 3.3 < errors[1] / errors[2] < 4.7


def test_zero_weights_never_point_at_another_value():
    grid = gaussian_grid(6, 8)
    values = torch.full((48,), torch.nan, dtype=torch.float64)
    values[8 * 2 + 3] = 7.0
    index, weight = grid.interpolation(grid.latitude[2:3], grid.longitude[3:4])
    assert float((values[index] * weight).sum()) == 7.0


def test_distance_closed_forms():
    grid = gaussian_grid(6, 8)
    latitude = torch.tensor([90.0, 0.0, 0.0, -30.0, 0.0], dtype=torch.float64)
    longitude = torch.tensor([0.0, 10.0, 10.0 + 1e-4, 200.0, -170.0], dtype=torch.float64)
    found = grid.distance(latitude, longitude, latitude, longitude)
    degree = EARTH_RADIUS_KM * math.pi / 180
    assert float(found[0, 1]) == pytest.approx(90 * degree)
    assert float(found[0, 3]) == pytest.approx(120 * degree)
    assert float(found[1, 2]) == pytest.approx(1e-4 * degree, rel=1e-6)
    assert float(found[1, 4]) == pytest.approx(180 * degree)
    assert float(found.diagonal().max()) == 0
    torch.testing.assert_close(found, found.T)
    assert (
        found[:, :3].shape == grid.distance(latitude, longitude, latitude[:3], longitude[:3]).shape
    )


LATITUDE = torch.linspace(80, -80, 9, dtype=torch.float64)
LONGITUDE = torch.arange(8, dtype=torch.float64) * 45


@pytest.mark.parametrize(
    ("latitude", "longitude", "message"),
    [
        (LATITUDE.flip(0), LONGITUDE, "south to north .* flip the latitude axis"),
        (LATITUDE[[0, 2, 1, 3, 4, 5, 6, 7, 8]], LONGITUDE, "no order"),
        (LATITUDE[[0, 1, 1, 3, 4, 5, 6, 7, 8]], LONGITUDE, "latitude 60 occurs twice"),
        (torch.where(LATITUDE == 0, torch.nan, LATITUDE), LONGITUDE, "latitude 4 is NaN"),
        (LATITUDE * 1.2, LONGITUDE, "latitude 96 lies outside"),
        (LATITUDE[2:], LONGITUDE, "range from 40 to -80 .* global"),
        (LATITUDE[:1], LONGITUDE, "at least 2"),
        (LATITUDE, LONGITUDE / 2, "not global; expected 8 values 45 degrees"),
        (LATITUDE, LONGITUDE + 10 * (LONGITUDE == 90), "not equally spaced"),
        (LATITUDE, LONGITUDE - 180, "expected eastwards from about 0"),
        (LATITUDE, LONGITUDE.flip(0), "expected eastwards from about 0"),
        (LATITUDE, LONGITUDE + 90, "expected eastwards from about 0"),
        (LATITUDE, LONGITUDE * (LONGITUDE != 45), "longitude 0 occurs twice"),
        (LATITUDE, torch.where(LONGITUDE == 90, torch.nan, LONGITUDE), "longitude 2 is NaN"),
        (LATITUDE, torch.cat([LONGITUDE, LONGITUDE[:1] + 360]), "not global"),
    ],
)
def test_refuses_grids_that_are_not_canonical(latitude, longitude, message):
    with pytest.raises(UserError, match=message):
        LatLonGrid(latitude, longitude)
