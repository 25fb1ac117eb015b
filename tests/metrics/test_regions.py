"""Regions share the globe, and their scores add up to the global one."""

from __future__ import annotations

import pytest
import torch

from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.bootstrap import Resamples
from slams.metrics.records import MethodRecord
from slams.metrics.regions import REGIONS, grid_regions, point_regions
from slams.metrics.score_rows import regional_rows
from slams.metrics.statistics import case_statistics

GRID = LatLonGrid(torch.arange(85.0, -90, -10), torch.arange(0.0, 360.0, 10.0))
CHANNELS = (FieldSpec.parse("temperature@500"), FieldSpec.parse("temperature@850"))
MASKS = dict(zip(REGIONS, grid_regions(GRID), strict=True))


def statistics(scale=None):
    g = torch.Generator().manual_seed(0)
    truth = torch.randn(3, 1, 2, *GRID.shape, generator=g)
    noise = torch.randn(3, 6, 1, 2, *GRID.shape, generator=g)
    members = noise * (1.0 if scale is None else scale)
    mask = torch.rand(truth.shape, generator=g) > 0.1
    mask[1, :, 0] = False
    found = case_statistics(
        members,
        truth.masked_fill(~mask, torch.nan),
        mask,
        GRID.weights,
        torch.arange(3),
        CHANNELS,
        0,
        regions=torch.stack(list(MASKS.values())),
    )
    return found, members, truth, mask


def test_belts_and_surfaces_each_cover_the_globe_once() -> None:
    belts = [MASKS[r].int() for r in REGIONS[1:4]]
    assert (sum(belts) == 1).all()
    assert (MASKS["land"] ^ MASKS["sea"]).all()
    assert MASKS["global"].all()
    # The tropics, 20 S to 20 N, are sin(20 degrees) of the sphere.
    share = (MASKS["tropics"] * GRID.weights[:, None]).mean()
    assert float(share) == pytest.approx(0.342, abs=1e-3)


def test_points_belong_where_the_cells_do() -> None:
    latitude = torch.tensor([20.0, 20.1, -20.0, -33.9, 51.5])
    longitude = torch.tensor([0.0, 200.0, 330.0, 18.6, 0.0])
    found = point_regions(latitude, longitude)
    names = [
        {n for n, m in zip(REGIONS, found, strict=True) if m[p]} - {"global"} for p in range(5)
    ]
    assert names == [
        {"tropics", "land"},
        {"northern_extratropics", "sea"},
        {"tropics", "sea"},
        {"southern_extratropics", "land"},
        {"northern_extratropics", "land"},
    ]


def test_a_region_s_statistics_see_its_points_alone() -> None:
    found, members, truth, mask = statistics()
    for r, region in enumerate(REGIONS):
        known = mask[0, 0, 1] & MASKS[region]
        weight = (GRID.weights[:, None] * known)[known]
        error = (members[0, :, 0, 1].double().mean(0) - truth[0, 0, 1])[known]
        expected = (error.square() * weight).sum() / weight.sum()
        assert float(found.regional_mse[0, 1, r]) == pytest.approx(float(expected), rel=1e-12)
    for name in ("mse", "bias", "crps", "variance"):
        regional = getattr(found, f"regional_{name}")
        torch.testing.assert_close(regional[..., 0], getattr(found, name), equal_nan=True)
    assert found.regional_mse[1, 0].isnan().all()


def test_rows_are_functions_of_the_means_of_cases() -> None:
    # A spread twice as large in the tropics.
    scale = torch.where(MASKS["tropics"], 2.0, 1.0)
    found, *_ = statistics(scale)
    record = MethodRecord.of_batch(found, torch.arange(3.0), 0.0, torch.zeros(3), [{}] * 3)
    rows = {
        row[:4]: row[4:]
        for row in regional_rows(record, CHANNELS, Resamples(record.time, 1, 200, 0))
    }
    value, lower, upper, n = rows["sea", "temperature", "850", "rmse"]
    assert value == pytest.approx(float(found.regional_mse[:, 1, 5].mean().sqrt()), rel=1e-12)
    assert lower <= value <= upper
    assert n == 3
    assert rows["land", "temperature", "500", "crps"][3] == 2
    levels = [rows["tropics", "temperature", v, "rmse"][0] for v in ("500", "850")]
    assert rows["tropics", "temperature", "mean", "rmse"][0] == pytest.approx(sum(levels) / 2)
    ratio = [rows[r, "temperature", "mean", "spread_skill"][0] for r in REGIONS[1:4]]
    assert ratio[1] > 1.3 * max(ratio[0], ratio[2])
    assert {row[0] for row in rows} == set(REGIONS)
