"""The filter of forecasts: daily means are observed, states at the end of the day updated."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slams.assimilators.ensemble_kalman import PriorEnsemble
from slams.assimilators.forecast_filter import ForecastFilter, Members
from slams.assimilators.letkf import LETKF
from slams.observations.stacked import stack_observations
from tests.assimilators.problems import linear_gaussian

SURFACE = (1000.0, 1000.0)


@pytest.fixture(scope="module")
def problem():
    return linear_gaussian()


def forecast_filter(problem, **settings) -> ForecastFilter:
    values = {
        "localisation": math.inf,
        "rtps": 0.0,
        "weakened": (500.0, 100.0),
        "aloft": 0.1,
        **settings,
    }
    return ForecastFilter(problem.normaliser, problem.grid, **values)


def physical(problem, batch, normalised: Tensor) -> Tensor:
    """Return states `(K, C, H, W)` in physical units."""
    state = problem.normaliser.denormalise(normalised, batch.climatology)
    return problem.normaliser.to_physical(state)[:, 0]


def normalised(problem, batch, days: Tensor) -> Tensor:
    state = problem.normaliser.to_channel_units(days.unsqueeze(1))
    return ((state - batch.climatology) / problem.normaliser.sd)[:, 0]


def members(problem, batch, count: int = 60, seed: int = 5, pressure=SURFACE) -> Members:
    """Make members whose state at the end of the day is the (normalised) mean of the day."""
    drawn = problem.draw(count, seed=seed)
    days = physical(problem, batch, drawn)
    return Members(days, drawn[:, 0].clone(), torch.tensor(pressure))


def test_identity_model_gives_the_letkf_of_the_state(problem) -> None:
    batch = problem.batch(seed=3)
    given = members(problem, batch)
    found = forecast_filter(problem, localisation=3000.0).update(given, batch)

    letkf = LETKF(problem.normaliser, problem.grid, 0, localisation=3000.0)
    states = given.ends.unsqueeze(1)
    observations = stack_observations(batch, 0)
    observed = observations.apply(problem.normaliser.denormalise(states, batch.climatology))
    centre = observed.mean(dim=0)
    prior = PriorEnsemble(
        states - states.mean(dim=0), observed - centre, observations.values - centre, 0, days=1
    )
    increment, perturbations = letkf.update(prior, observations)
    expected = (states.mean(dim=0) + increment + perturbations)[:, 0]
    torch.testing.assert_close(found.ends, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(normalised(problem, batch, found.days), expected, rtol=0, atol=1e-4)
    assert float((expected - given.ends).abs().max()) > 0.5


def test_end_states_that_follow_linearly_from_the_days_still_do_after_the_update(problem) -> None:
    """A point's weights are those of the members: a linear map at the point commutes with them."""
    batch = problem.batch(seed=4)
    given = members(problem, batch)
    mixing = torch.tensor([[0.5, 2.0], [-1.0, 0.3], [4.0, 0.0]])

    def ends(days: Tensor) -> Tensor:
        states = normalised(problem, batch, days)
        return torch.einsum("fc,kchw->kfhw", mixing.to(states.dtype), states) + 7.0

    given = replace(given, ends=ends(given.days), pressure=torch.tensor([1000.0] * 3))
    found = forecast_filter(problem, localisation=3000.0).update(given, batch)
    torch.testing.assert_close(found.ends, ends(found.days), rtol=0, atol=1e-3)
    assert float((found.ends - given.ends).abs().max()) > 1.0


def test_fields_aloft_are_changed_less_and_not_at_all_with_a_strength_of_zero(problem) -> None:
    batch = problem.batch(seed=4)

    def change(pressure: float, aloft: float) -> Tensor:
        given = members(problem, batch, pressure=(1000.0, pressure))
        method = forecast_filter(problem, localisation=3000.0, aloft=aloft)
        found = method.update(given, batch)
        return (found.ends - given.ends)[:, 1]

    low, middle, high = (float(change(p, 0.1).square().mean()) for p in (500.0, 224.0, 100.0))
    assert low > middle > high > 0
    torch.testing.assert_close(change(50.0, 0.1), change(100.0, 0.1), rtol=0, atol=0)
    torch.testing.assert_close(change(1000.0, 0.1), change(500.0, 0.1), rtol=0, atol=0)
    assert float(change(100.0, 0.0).abs().max()) < 1e-5


def test_relaxation_restores_the_spread_of_days_and_end_states(problem) -> None:
    batch = problem.batch(seed=4)
    given = members(problem, batch)
    spread = given.ends.std(dim=0)
    reduced = forecast_filter(problem, localisation=3000.0).update(given, batch).ends.std(dim=0)
    assert float((reduced / spread).mean()) < 0.9
    half = forecast_filter(problem, localisation=3000.0, rtps=0.5).update(given, batch)
    torch.testing.assert_close(half.ends.std(dim=0), (spread + reduced) / 2, rtol=0, atol=1e-4)
    whole = forecast_filter(problem, localisation=3000.0, rtps=1.0).update(given, batch)
    torch.testing.assert_close(
        normalised(problem, batch, whole.days).std(dim=0), spread, rtol=0, atol=1e-3
    )


def test_truth_and_background_are_not_read_and_variables_can_be_left_out(problem) -> None:
    batch = problem.batch(seed=4)
    given = members(problem, batch)
    method = forecast_filter(problem, localisation=3000.0)
    found = method.update(given, batch)
    blind = replace(batch, fields=torch.full_like(batch.fields, torch.nan), background=None)
    torch.testing.assert_close(method.update(given, blind).ends, found.ends, rtol=0, atol=0)

    names = ["2m_temperature", "outgoing_longwave_radiation"]
    named = zip(batch.observations, names, strict=True)
    batch = replace(
        batch, observations=tuple(replace(o, name=f"given/{name}") for o, name in named)
    )
    some = forecast_filter(problem, localisation=3000.0, without=names[:1]).update(given, batch)
    only = method.update(given, replace(batch, observations=batch.observations[1:]))
    torch.testing.assert_close(some.ends, only.ends, rtol=0, atol=0)
    assert float((some.ends - found.ends).abs().max()) > 0.1
    none = forecast_filter(problem, without=names).update(given, batch)
    torch.testing.assert_close(none.ends, given.ends, rtol=0, atol=0)
