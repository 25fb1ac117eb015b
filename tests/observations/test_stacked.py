from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slams.errors import UserError
from slams.observations.stacked import (
    observe_all,
    observe_perturbations,
    stack_observations,
)
from tests.assimilators.problems import linear_gaussian, masked


@pytest.fixture(scope="module")
def problem():
    return linear_gaussian(days=2)


@pytest.fixture
def thinned(problem):
    batch = problem.batch(cases=3)
    generator = torch.Generator().manual_seed(5)
    for which, observations in enumerate(batch.observations):
        batch = masked(
            batch, which, torch.rand(observations.mask.shape, generator=generator) > 0.4
        )
    return batch


@pytest.mark.parametrize("case", [0, 2])
def test_entries_are_the_active_observations_and_no_others(problem, thinned, case) -> None:
    stacked = stack_observations(thinned, case)
    assert len(stacked) == sum(int(o.mask[case].sum()) for o in thinned.observations)
    entry = 0
    for day in range(2):
        first = 0
        for o in thinned.observations:
            for p in range(o.mask.shape[-1]):
                if not o.mask[case, day, p]:
                    continue
                assert stacked.values[entry] == o.values[case, day, p]
                assert stacked.variance[entry] == o.error_variance[case, day, p]
                assert stacked.day[entry] == day
                assert stacked.points[entry] == first + p
                assert stacked.latitude[entry] == o.operator.latitude[p]
                assert stacked.longitude[entry] == o.operator.longitude[p]
                entry += 1
            first += o.mask.shape[-1]


def test_applying_is_selecting_from_the_whole_network(problem, thinned) -> None:
    states = 280 + torch.randn(4, *problem.shape, generator=torch.Generator().manual_seed(0))
    stacked = stack_observations(thinned, 1)
    whole = observe_all(problem.operators, states)
    assert whole.shape == (4, 2, 25 + 32)
    assert torch.equal(stacked.select(whole), stacked.apply(states))
    entry = int((stacked.day == 1).nonzero()[3])
    alone = problem.operators[0](states[:, 1])[:, stacked.points[entry]]
    assert torch.equal(stacked.apply(states)[:, entry], alone)


def test_perturbations_are_observed_without_offset(problem) -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 3, *problem.shape, generator=generator, dtype=torch.float64)
    difference = observe_all(problem.operators, one) - observe_all(problem.operators, two)
    found = observe_perturbations(problem.operators, one - two)
    torch.testing.assert_close(found, difference, rtol=0, atol=1e-12)
    offset = observe_all(problem.operators, torch.zeros(1, *problem.shape))
    assert float(offset.abs().max()) > 1


def test_gradient_reaches_the_state(problem, thinned) -> None:
    stacked = stack_observations(thinned, 0)
    state = torch.zeros(1, *problem.shape, requires_grad=True)
    stacked.apply(state).sum().backward()
    assert float(state.grad.abs().sum()) > 0


def test_case_without_observations_is_empty(problem) -> None:
    batch = problem.batch()
    assert len(stack_observations(replace(batch, observations=()), 0)) == 0
    for which, o in enumerate(batch.observations):
        batch = masked(batch, which, torch.zeros_like(o.mask))
    stacked = stack_observations(batch, 0)
    assert len(stacked) == 0
    assert stacked.apply(torch.zeros(3, *problem.shape)).shape == (3, 0)


def test_refuses_nan_behind_an_open_mask_and_negative_variance(problem) -> None:
    batch = problem.batch()
    stations, satellite = batch.observations
    values = stations.values.clone()
    values[0, 0, 3] = torch.nan
    wrong = replace(batch, observations=(replace(stations, values=values), satellite))
    with pytest.raises(UserError, match="stations/made: 1 values are NaN"):
        stack_observations(wrong, 0)
    variance = satellite.error_variance.clone()
    variance[0, 1, 0] = -1
    wrong = replace(batch, observations=(stations, replace(satellite, error_variance=variance)))
    with pytest.raises(UserError, match="satellite/made: an error variance is -1"):
        stack_observations(wrong, 0)
