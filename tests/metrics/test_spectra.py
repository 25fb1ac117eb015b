"""Spectra of single waves, belts, and what averaging over members takes away."""

from __future__ import annotations

import math

import pytest
import torch

from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.spectra import BELTS, PowerSpectra, spectra_rows, zonal_power

CHANNELS = tuple(
    FieldSpec.parse(n) for n in ("temperature@850", "2m_temperature", "temperature@500")
)
GRID = LatLonGrid(torch.arange(85.0, -90, -10), torch.arange(0.0, 360.0, 15.0))


def test_a_wave_has_its_power_at_its_wavenumber():
    x = torch.arange(24) * 2 * math.pi / 24
    for m, amplitude, power in ((0, 3.0, 9.0), (5, 3.0, 4.5), (12, 3.0, 9.0)):
        found = zonal_power((amplitude * torch.cos(m * x)).expand(2, 24))
        expected = torch.zeros(2, 13).double()
        expected[:, m] = power
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)
    noise = torch.randn(3, 25, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(zonal_power(noise).sum(-1), noise.square().mean(-1))


def cases(seed=0, cases=3, members=6):
    g = torch.Generator().manual_seed(seed)
    common = torch.randn(cases, 1, 3, *GRID.shape, generator=g)
    own = torch.randn(cases, members + 1, 1, 3, *GRID.shape, generator=g)
    mask = torch.ones_like(common, dtype=torch.bool)
    mask[1, 0, 2, 3, 3] = False
    return common[:, None] + own[:, 1:], common + own[:, 0], mask


def compute(sizes):
    members, truth, mask = cases()
    metric, start = PowerSpectra(CHANNELS, GRID), 0
    for size in sizes:
        part = slice(start, start + size)
        metric.update(members[part], truth[part], mask[part])
        start += size
    return metric


def test_splitting_the_cases_does_not_matter_and_gaps_are_left_out():
    one, other = compute([3]), compute([1, 2])
    for a, b in zip(one.compute(), other.compute(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=0)
    assert one.cases.tolist() == [3, 2]


def test_members_have_the_truth_s_power_and_their_mean_less():
    zonal, spherical = compute([3]).compute()
    total = spherical.sum(-1).mean(0)
    assert float(total[1] / total[0]) == pytest.approx(1, abs=0.1)
    # Half of the variance is known to all members; of the other half a sixth stays in the mean.
    assert float(total[2] / total[1]) == pytest.approx((1 + 1 / 6) / 2, abs=0.05)
    total = zonal[:, 0].sum(-1).mean(0)
    assert float(total[2] / total[1]) == pytest.approx((1 + 1 / 6) / 2, abs=0.05)


def test_belts_share_the_globe_by_area():
    zonal, _ = compute([3]).compute()
    latitude = GRID.latitude
    area = [GRID.weights[m].sum() for m in (latitude > 20, latitude.abs() <= 20, latitude < -20)]
    shares = torch.stack(area) / GRID.weights.sum()
    torch.testing.assert_close(torch.einsum("lbkm,b->lkm", zonal[:, 1:], shares), zonal[:, 0])


def test_rows():
    rows = list(spectra_rows(compute([3]).compute(), CHANNELS))
    assert {row[3] for row in rows} == {"850", "500"}
    assert {row[1] for row in rows if row[0] == "zonal"} == set(BELTS)
    waves = [row[4] for row in rows if row[:4] == ("zonal", "tropics", "temperature", "850")]
    assert waves == list(range(13))
    missing = PowerSpectra(CHANNELS, GRID)
    assert list(spectra_rows(missing.compute(), CHANNELS)) == []
