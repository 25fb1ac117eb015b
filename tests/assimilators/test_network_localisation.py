from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from slams.assimilators.network_localisation import NetworkLocalisation
from slams.errors import UserError
from slams.linalg.localisation import localisation_matrix
from tests.assimilators.problems import small_grid

F64 = torch.float64


def network(latitude, longitude) -> list[SimpleNamespace]:
    """Make operators of which only the positions matter."""
    return [
        SimpleNamespace(latitude=latitude[:4], longitude=longitude[:4]),
        SimpleNamespace(latitude=latitude[4:], longitude=longitude[4:]),
    ]


def test_selects_the_active_points_of_the_whole_network() -> None:
    grid = small_grid()
    latitude = torch.linspace(-80, 80, 10, dtype=F64)
    longitude = torch.linspace(0, 350, 10, dtype=F64)
    points = torch.tensor([1, 4, 8, 4])
    found = NetworkLocalisation(grid, 4000.0).matrices(network(latitude, longitude), points)
    active = latitude[points], longitude[points]
    state = localisation_matrix(grid, *grid.points, *active, 4000.0)
    observed = localisation_matrix(grid, *active, *active, 4000.0)
    assert torch.equal(found[0], state)
    assert torch.equal(found[1], observed)


def test_keeps_networks_apart_that_share_coordinates() -> None:
    grid = small_grid()
    latitude = torch.linspace(-80, 80, 10, dtype=F64)
    longitude = torch.linspace(0, 350, 10, dtype=F64)
    networks = [
        network(latitude, longitude),
        network(latitude.flip(0), longitude),
        network(latitude, longitude.flip(0)),
        network(latitude / 2, longitude),
        network(latitude, longitude / 2),
    ]
    points = torch.arange(10)
    used = NetworkLocalisation(grid, 4000.0)
    # Twice, so that networks are also dropped and come back.
    for operators in networks * 2:
        fresh = NetworkLocalisation(grid, 4000.0).matrices(operators, points)
        for found, expected in zip(used.matrices(operators, points), fresh, strict=True):
            assert torch.equal(found, expected)


def test_refuses_a_network_too_large_for_a_dense_covariance() -> None:
    many = torch.zeros(12_001, dtype=F64)
    with pytest.raises(UserError, match="12001 points; expected at most 12000"):
        NetworkLocalisation(small_grid(), 4000.0).matrices(network(many, many), torch.arange(3))
