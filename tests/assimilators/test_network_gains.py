from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from slams.assimilators.network_gains import NetworkGains
from slams.errors import UserError
from slams.linalg.settings import LocalSettings
from slams.observations.stacked import StackedObservations
from tests.assimilators.problems import localisation_matrix, small_grid

F64 = torch.float64


def observations(count: int) -> StackedObservations:
    """Make observations of which only the positions matter."""
    points = torch.arange(count)
    latitude = torch.linspace(-80, 80, count, dtype=F64)
    longitude = (97 * points % 360).to(F64)
    one = torch.ones(count)
    return StackedObservations(
        one, one, points, latitude, longitude, points, points, (), points % 2, one < 0
    )


def test_few_observations_are_one_domain_and_many_are_several() -> None:
    gains = NetworkGains(small_grid(), 3000.0, LocalSettings(above=20, observations=10))
    assert len(gains.gain(observations(20)).domains) == 1
    several = gains.gain(observations(200))
    assert len(several.domains) > 1
    assert several.index.shape[1] == 10


def test_processes_that_would_have_no_domain_solve_alone() -> None:
    settings = LocalSettings(above=0, observations=10, spacing=50_000.0)
    gains = NetworkGains(small_grid(), 3000.0, settings)
    gains.partners = SimpleNamespace(rank=1, world=2)
    assert gains.gain(observations(40)).partners.world == 1


def test_the_nearest_observations_of_grid_points() -> None:
    grid, seen = small_grid(), observations(40)
    here = tuple(x[5:9] for x in grid.points)
    expected = localisation_matrix(grid, here, (seen.latitude, seen.longitude), 3000.0)
    every = NetworkGains(grid, 3000.0, LocalSettings())
    taper, index = every.nearest(seen, slice(5, 9))
    found = torch.zeros_like(expected).scatter_(1, index, taper)
    assert torch.equal(found, expected)
    few = NetworkGains(grid, 3000.0, LocalSettings(above=20, observations=10))
    assert torch.equal(few.nearest(seen, slice(5, 9))[0], expected.topk(10, dim=1).values)


def test_refuses_a_network_too_large_for_a_dense_covariance() -> None:
    gains = NetworkGains(small_grid(), 4000.0, LocalSettings(above=20_000))
    with pytest.raises(UserError, match=r"local\.above.*12001 observations.*at most 12000"):
        gains.gain(observations(12_001))
