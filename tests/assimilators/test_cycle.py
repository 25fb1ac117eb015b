"""A cycle: what the next background is made of, and that the truth never enters it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slams.assimilators.cycle import Cycle
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.errors import UserError
from slams.fields import Batch, Ensemble
from tests.assimilators.problems import LinearGaussian, linear_gaussian

DAMPING, PERSISTENCE_ERROR = 0.7, 0.4


@pytest.fixture(scope="module")
def problem() -> LinearGaussian:
    return linear_gaussian()


def day(problem: LinearGaussian, number: int) -> Batch:
    batch = problem.batch(seed=number)
    return replace(batch, time=batch.time + number)


def make(problem: LinearGaussian, **settings: float) -> Cycle:
    whole = torch.ones(problem.shape[1:])
    return Cycle(problem.normaliser, DAMPING * whole, PERSISTENCE_ERROR * whole, **settings)


def ensemble(problem: LinearGaussian, batch: Batch, anomalies: torch.Tensor) -> Ensemble:
    members = problem.normaliser.denormalise(anomalies, batch.climatology)
    channels = problem.normaliser.channels
    return Ensemble("made", members, batch.time, channels, problem.grid)


def test_the_first_background_is_the_one_it_comes_with(problem) -> None:
    batch = day(problem, 0)
    assert make(problem).prepare(batch).background is batch.background


def test_mean_and_variance_of_the_next_background(problem) -> None:
    cycle, first = make(problem, inflation=1.5), day(problem, 0)
    anomalies = torch.randn(1, 6, *problem.shape, generator=torch.Generator().manual_seed(0))
    cycle.keep(cycle.prepare(first), ensemble(problem, first, anomalies))
    background = cycle.prepare(day(problem, 1)).background
    torch.testing.assert_close(
        background.mean, DAMPING * anomalies.mean(dim=1), rtol=1e-4, atol=1e-4
    )
    expected = 1.5 * (PERSISTENCE_ERROR + DAMPING**2 * anomalies.var(dim=1))
    torch.testing.assert_close(background.variance, expected, rtol=1e-3, atol=1e-4)


def test_a_cycle_that_is_reset_starts_anew(problem) -> None:
    cycle, first = make(problem), day(problem, 0)
    cycle.keep(first, ensemble(problem, first, torch.ones(1, 2, *problem.shape)))
    cycle.reset()
    assert cycle.prepare(first).background is first.background


def test_a_day_that_does_not_follow_is_refused(problem) -> None:
    cycle, first = make(problem), day(problem, 0)
    cycle.keep(first, ensemble(problem, first, torch.ones(1, 2, *problem.shape)))
    with pytest.raises(UserError, match="after 3 days, expected 1"):
        cycle.prepare(day(problem, 3))


def test_gross_errors_are_judged_by_the_cycled_background(problem) -> None:
    cycle, first = make(problem, gross_error=5.0), day(problem, 0)
    far = torch.full((1, 2, *problem.shape), 40.0)
    assert all(bool(o.mask.all()) for o in cycle.prepare(first).observations)
    cycle.keep(first, ensemble(problem, first, far))
    assert not any(bool(o.mask.any()) for o in cycle.prepare(day(problem, 1)).observations)


def test_the_truth_is_seen_through_observations_alone(problem) -> None:
    """Other truths, same observations: not one number of three days of analyses changes."""

    def cycled(change: float) -> list[torch.Tensor]:
        method = OptimalInterpolation(problem.normaliser, problem.grid, seed=0, season=400)
        method.fit(problem.archive(problem.draw(60, seed=3)))
        cycle, found = make(problem), []
        for number in range(3):
            batch = day(problem, number)
            batch = cycle.prepare(replace(batch, fields=batch.fields + change))
            analysis = method.analyse(batch, 4)
            cycle.keep(batch, analysis)
            found.append(analysis.members)
        return found

    for one, other in zip(cycled(0.0), cycled(9.0), strict=True):
        assert torch.equal(one, other)
