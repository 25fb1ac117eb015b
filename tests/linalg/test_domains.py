from __future__ import annotations

import pytest
import torch

from slams.grid import great_circle, unit_vectors
from slams.linalg.domains import Domains
from tests.assimilators.problems import small_grid


@pytest.mark.parametrize("spacing", [700.0, 3000.0, 9000.0, 50_000.0])
def test_the_shares_of_every_point_sum_to_one(spacing: float) -> None:
    grid = small_grid(16, 32)
    domains = Domains.cover(grid, spacing)
    total = torch.zeros(16 * 32).index_add_(0, domains.points.flatten(), domains.shares.flatten())
    torch.testing.assert_close(total, torch.ones_like(total))
    everywhere = domains.shares_at(*grid.points)
    torch.testing.assert_close(everywhere.sum(dim=0), torch.ones(16 * 32))
    padded = torch.zeros_like(everywhere)
    padded.scatter_add_(1, domains.points, domains.shares)
    torch.testing.assert_close(padded, everywhere)


def test_centres_are_about_as_far_apart_as_asked_for() -> None:
    domains = Domains.cover(small_grid(24, 48), 1500.0)
    away = great_circle(domains.centres, domains.centres).fill_diagonal_(torch.inf)
    nearest = away.amin(dim=1)
    assert 1200 < float(nearest.min()) < float(nearest.max()) < 1700
    # A domain reaches its neighbours' centres, never farther.
    assert float(domains.radius.max()) < 2400


def test_shares_change_smoothly_everywhere_also_over_the_date_line() -> None:
    domains = Domains.cover(small_grid(24, 48), 2000.0)
    longitude = torch.arange(0, 720, 0.1, dtype=torch.float64)
    shares = domains.shares_at(torch.full_like(longitude, 37.0), longitude % 360)
    assert float(shares.diff(dim=1).abs().max()) < 0.03
    torch.testing.assert_close(shares[:, :3600], shares[:, 3600:])
    latitude = torch.arange(-90, 90.05, 0.1, dtype=torch.float64)
    shares = domains.shares_at(latitude, torch.full_like(latitude, 13.0))
    assert float(shares.diff(dim=1).abs().max()) < 0.03


def test_one_domain_has_everything() -> None:
    domains = Domains.whole(12)
    assert domains.points.tolist() == [list(range(12))]
    equator = torch.zeros(3, dtype=torch.float64)
    assert domains.shares_at(equator, equator).tolist() == [[1, 1, 1]]
    assert float(great_circle(domains.centres, unit_vectors(*torch.zeros(2, 1).double()))) > 0
