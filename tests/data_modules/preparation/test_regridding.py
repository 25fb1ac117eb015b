"""Regridding: conservation, constants, the date line, the poles, missing values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data_modules.preparation.regridding import METHODS, AreaSums, Regridder, known_mean
from data_modules.preparation.target_grid import regular_grid, target_grid
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.grid import LatLonGrid

POLES = LatLonGrid(
    torch.linspace(90, -90, 73, dtype=torch.float64), 2.5 * torch.arange(144, dtype=torch.float64)
)
FINE = regular_grid(24, 48)
COARSE = regular_grid(12, 20)
SHIFTED = LatLonGrid(COARSE.latitude, COARSE.longitude + 9.0)


def mean(values: np.ndarray, grid: LatLonGrid) -> float:
    return float((values.mean(axis=-1) * grid.weights.numpy()).mean())


def smooth(grid: LatLonGrid) -> np.ndarray:
    """Evaluate a field that is smooth on the sphere, poles included."""
    y, x = np.deg2rad(grid.latitude.numpy())[:, None], np.deg2rad(grid.longitude.numpy())[None]
    return 2 + np.sin(y) + np.cos(y) * np.cos(x - 1) + np.cos(y) ** 2 * np.sin(2 * x)


@pytest.mark.parametrize("target", [COARSE, SHIFTED, FINE, regular_grid(7, 13)])
@pytest.mark.parametrize("source", [POLES, FINE, SHIFTED])
def test_conservative_keeps_the_mass(source, target):
    values = np.random.default_rng(0).standard_normal((2, *source.shape))
    found = Regridder(source, target, "conservative")(values)
    assert found.shape == (2, *target.shape)
    for before, after in zip(values, found, strict=True):
        assert mean(after, target) == pytest.approx(mean(before, source), abs=1e-14)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [COARSE, SHIFTED, FINE, POLES])
@pytest.mark.parametrize("source", [POLES, COARSE, SHIFTED])
def test_constant_stays_constant(source, target, method):
    found = Regridder(source, target, method)(np.full(source.shape, 273.15))
    np.testing.assert_allclose(found, 273.15, rtol=1e-14)


@pytest.mark.parametrize(
    ("target", "method", "tolerance"),
    [
        (COARSE, "bilinear", 0.005),
        (SHIFTED, "bilinear", 0.005),
        # The mean of a cell is the value at its centre for small cells only.
        (regular_grid(36, 72), "conservative", 0.02),
    ],
)
def test_smooth_field_stays_itself(target, method, tolerance):
    found = Regridder(POLES, target, method)(smooth(POLES))
    assert np.abs(found - smooth(target)).max() < tolerance


def test_conservative_mean_of_whole_cells_is_their_area_mean():
    source, target = regular_grid(12, 24), regular_grid(6, 12)
    values = np.random.default_rng(1).standard_normal(source.shape)
    # The target's first column is centred on the source's first and reaches half a cell beyond.
    found = Regridder(source, target, "conservative")(values)
    w = source.weights.numpy()[:2]
    columns = (values[:2, 23] * 0.5 + values[:2, 0] + values[:2, 1] * 0.5) / 2
    assert found[0, 0] == pytest.approx((columns * w).sum() / w.sum())


def test_bilinear_between_four_points_and_across_the_date_line():
    source = regular_grid(6, 12)
    values = np.random.default_rng(2).standard_normal(source.shape)
    target = LatLonGrid(
        torch.tensor([80.0, 60.0, 0.0, -60.0, -80.0]), 15.0 + 30.0 * torch.arange(12.0)
    )
    found = Regridder(source, target, "bilinear")(values)
    # 60 degrees is midway between the rows at 75 and 45, 345 midway between 330 and 0.
    expected = (values[0, 11] + values[0, 0] + values[1, 11] + values[1, 0]) / 4
    assert found[1, 11] == pytest.approx(expected)
    # 80 degrees is a sixth of the way across the pole from 75 to 75 on the other side.
    near = (values[0, 3] + values[0, 4]) / 2
    beyond = (values[0, 9] + values[0, 10]) / 2
    assert found[0, 3] == pytest.approx(5 / 6 * near + 1 / 6 * beyond)


def test_bilinear_agrees_with_the_grid_s_own_interpolation():
    values = np.random.default_rng(3).standard_normal(POLES.shape)
    found = Regridder(POLES, SHIFTED, "bilinear")(values)
    index, weight = POLES.interpolation(*SHIFTED.points)
    expected = (values.reshape(-1)[index.numpy()] * weight.numpy()).sum(axis=-1)
    np.testing.assert_allclose(found.reshape(-1), expected, atol=1e-12)


def test_missing_values_are_left_out_of_the_mean():
    source, target = regular_grid(12, 24), regular_grid(6, 12)
    values = np.random.default_rng(4).standard_normal(source.shape)
    hole = values.copy()
    hole[0, 4] = np.nan
    found = Regridder(source, target, "conservative")(hole)
    w = source.weights.numpy()[:2]
    area = w[:, None] * np.array([0.5, 1.0, 0.5])
    area[0, 1] = 0
    expected = (np.nan_to_num(hole[:2, 3:6]) * area).sum() / area.sum()
    assert found[0, 2] == pytest.approx(expected)
    assert np.isfinite(found).all()
    hole[:2, 3:6] = np.nan
    found = Regridder(source, target, "conservative")(hole)
    assert np.argwhere(np.isnan(found)).tolist() == [[0, 2]]


def test_same_grid_is_passed_through():
    values = np.random.default_rng(5).standard_normal(FINE.shape)
    regridder = Regridder(FINE, regular_grid(24, 48), "bilinear")
    assert regridder.identity
    np.testing.assert_array_equal(regridder(values), values)


def test_unknown_method_is_refused():
    with pytest.raises(UserError, match=r"data\.source\.regrid: found 'cubic'"):
        Regridder(FINE, COARSE, "cubic")


def test_target_grids(tiny_source, tiny_prepared, tmp_path):
    import xarray as xr

    source = xr.Dataset(coords={"latitude": [45.0, -45.0], "longitude": [0.0, 90, 180, 270]})

    def shape(name: str) -> tuple[int, int]:
        return target_grid(SourceConfig(grid=name), source, "data.source").shape

    assert shape("native") == (2, 4)
    assert shape("32x64") == (32, 64)
    assert shape("sample") == (48, 96)
    assert shape(str(tiny_source)) == (12, 24)
    assert shape(str(tiny_prepared)) == (12, 24)
    for wrong in ("somewhere.zarr", "32 x 64", "1x2"):
        with pytest.raises(UserError, match=r"data\.source\.grid"):
            shape(wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no latitude and longitude"):
        shape(str(tmp_path / "empty"))


def test_area_sums_of_a_global_grid_are_the_means_of_the_regridder():
    values = np.random.default_rng(1).standard_normal((2, *POLES.shape))
    values[0, 3:20, 5:90] = np.nan
    sums = AreaSums(POLES.latitude.numpy(), POLES.longitude.numpy(), POLES.spacing, SHIFTED)
    found = known_mean(*sums.parts(values))
    expected = Regridder(POLES, SHIFTED, "conservative")(values)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(sums.parts(values[1])[1], 1.0, rtol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 90.0, 163.5, 275.0])
def test_area_sums_of_a_region_keep_its_mass(shift):
    """Across the date line and the meridian of 0 too, whatever the order of the columns."""
    latitude, longitude = np.arange(60.0, -21.0, -2.0), np.arange(-50.0, 51.0, 2.0) + shift
    order = np.random.default_rng(2).permutation(len(longitude))
    values = np.random.default_rng(3).standard_normal((len(latitude), len(longitude)))
    sums = AreaSums(latitude, longitude[order], 2.0, COARSE)
    total, weight = sums.parts(values[:, order])
    sine = np.sin(np.deg2rad([*(latitude + 1.0), latitude[-1] - 1.0]))
    area = (sine[:-1] - sine[1:])[:, None] * 2.0
    cells = COARSE.weights.numpy()[:, None] * 2.0 / COARSE.shape[0] * COARSE.spacing
    assert (total * cells).sum() == pytest.approx((values * area).sum(), rel=1e-12)
    assert (weight * cells).sum() == pytest.approx(area.sum() * len(longitude), rel=1e-12)
    assert weight.max() <= 1 + 1e-12
    assert weight.min() == 0
