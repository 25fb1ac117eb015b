from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from slams.assimilators.base import Archive
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.errors import UserError
from slams.fields import Observations
from slams.linalg.localisation import gaspari_cohn
from slams.observations.stacked import stack_observations
from slams.observations.stations import StationOperator
from tests.assimilators.problems import linear_gaussian, masked


@pytest.fixture(scope="module")
def problem():
    return linear_gaussian()


@pytest.fixture(scope="module")
def exact(problem):
    """An archive whose sample covariance is exactly B."""
    return problem.archive(problem.draw_exact(1500, seed=2))


def fitted(problem, archive, localisation: float = math.inf, seed: int = 0):
    method = OptimalInterpolation(
        problem.normaliser, problem.grid, seed, localisation=localisation
    )
    method.fit(archive)
    return method


def test_without_localisation_it_is_the_posterior_of_the_exact_covariance(problem, exact) -> None:
    batch = problem.batch(cases=2)
    ensemble = fitted(problem, exact).analyse(batch, 1500)
    for case in range(2):
        mean, covariance = problem.posterior(batch, case)
        members = problem.normalised(ensemble.members, batch, case)
        torch.testing.assert_close(members.mean(dim=0).double(), mean, rtol=0, atol=2e-4)
        # Only the noise of the 1500 perturbed observations is left to chance.
        sample = torch.cov(members.flatten(1).T.double())
        off = (sample - covariance) / torch.outer(covariance.diag(), covariance.diag()).sqrt()
        assert float(off.abs().max()) < 0.12
        ratio = sample.diag() / covariance.diag()
        assert float(ratio.mean()) == pytest.approx(1.0, abs=0.01)
        # The prior differs from both by far more than that: the test sees the analysis.
        assert float((problem.covariance.diag() / covariance.diag()).mean()) > 2


def test_sampled_archive_gives_the_posterior_within_monte_carlo_error(problem) -> None:
    batch = problem.batch(seed=4)
    mean, covariance = problem.posterior(batch)
    sd = covariance.diag().sqrt().reshape(problem.shape)
    errors = []
    for count in (600, 9600):
        method = fitted(problem, problem.archive(problem.draw(count, seed=5)))
        ensemble = method.analyse(batch, 300)
        members = problem.normalised(ensemble.members, batch)
        errors.append(float(((members.mean(dim=0) - mean) / sd).square().mean().sqrt()))
    # The error falls with the root of the archive's size, 4 for 16 times as many days.
    assert errors[1] < 0.15
    assert 2.5 < errors[0] / errors[1] < 6.5
    variance = members.var(dim=0).double() / sd.square()
    assert float(variance.mean()) == pytest.approx(1.0, abs=0.05)


def test_localised_analysis_equals_dense_linear_algebra(problem) -> None:
    batch = problem.batch(cases=1, seed=6)
    archive = problem.archive(problem.draw(60, seed=7))
    ensemble = fitted(problem, archive, localisation=4000.0).analyse(batch, 5)

    # Written afresh with numpy in double precision.
    e = (archive.fields - archive.background).double().numpy().reshape(60, -1)
    variance = (e - e.mean(0)).var(0, ddof=1)
    e = (e - e.mean(0)) * np.sqrt(problem.variance.numpy().reshape(-1) / variance)
    stacked = stack_observations(batch, 0)
    g = problem.matrix(batch).numpy()
    b = e.T @ e / 59
    points = problem.grid.points
    there = stacked.latitude, stacked.longitude
    zo = gaspari_cohn(problem.grid.distance(*points, *there), 4000.0).numpy()
    oo = gaspari_cohn(problem.grid.distance(*there, *there), 4000.0).numpy()
    s = oo * (g @ b @ g.T) + np.diag(stacked.variance.numpy())
    gain = (np.tile(zo, (2, 1)) * (b @ g.T)) @ np.linalg.inv(s)
    state = problem.normaliser.denormalise(batch.background.mean, batch.climatology)[0]
    innovation = (stacked.values - stacked.apply(state[None])[0]).double().numpy()
    expected = batch.background.mean[0].double().numpy().reshape(-1) + gain @ innovation

    found = problem.normalised(ensemble.members, batch).mean(dim=0).flatten().double().numpy()
    # Members leave in kelvin as float32: 280 K has steps of 3e-5 K, 1e-5 standard deviations.
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5)
    assert abs(gain @ innovation).max() > 0.5


def test_two_days_are_one_state() -> None:
    problem = linear_gaussian(days=2)
    batch = problem.batch(seed=8)
    # The second day is seen through the first alone.
    for which, observations in enumerate(batch.observations):
        mask = observations.mask.clone()
        mask[:, 1] = False
        batch = masked(batch, which, mask)
    archive = problem.archive(problem.draw_exact(1100, seed=9))
    ensemble = fitted(problem, archive).analyse(batch, 1100)
    mean, covariance = problem.posterior(batch)
    members = problem.normalised(ensemble.members, batch)
    torch.testing.assert_close(members.mean(dim=0).double(), mean, rtol=0, atol=2e-4)
    ratio = members.flatten(1).var(dim=0).double() / covariance.diag()
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.01)
    moved = (members.mean(dim=0) - batch.background.mean[0]).abs().amax(dim=(1, 2, 3))
    assert float(moved[1]) > 0.3


def test_numbers_do_not_depend_on_the_batch(problem, exact) -> None:
    batch = problem.batch(cases=5)
    generator = torch.Generator().manual_seed(1)
    for which, o in enumerate(batch.observations):
        batch = masked(batch, which, torch.rand(o.mask.shape, generator=generator) > 0.3)
    whole = fitted(problem, exact, 4000.0).analyse(batch, 6).members
    method = fitted(problem, exact, 4000.0)
    for case in (4, 0, 3):
        alone = method.analyse(batch.select(slice(case, case + 1)), 6).members
        assert torch.equal(alone[0], whole[case])
    pair = method.analyse(batch.select(slice(1, 3)), 6).members
    assert torch.equal(pair, whole[1:3])


def test_masked_observations_have_no_effect_at_all(problem, exact) -> None:
    batch = problem.batch(cases=1)
    mask = torch.rand(1, 1, 25, generator=torch.Generator().manual_seed(2)) > 0.5
    hidden = masked(batch, 0, mask)
    other = list(hidden.observations)
    values = torch.where(mask, other[0].values, 1e30)
    other[0] = replace(other[0], values=values)
    other = replace(hidden, observations=tuple(other))
    method = fitted(problem, exact, 4000.0)
    one, two = (method.analyse(b, 4).members for b in (hidden, other))
    assert bool(torch.isfinite(one).all())
    assert torch.equal(one, two)
    assert not torch.equal(one, method.analyse(batch, 4).members)


def test_station_on_a_grid_point_without_error_is_met(problem, exact) -> None:
    batch = problem.batch(cases=1)
    grid = problem.grid
    operator = StationOperator(
        grid,
        problem.normaliser.channels,
        "2m_temperature",
        grid.latitude[2:3],
        grid.longitude[5:6],
    )
    background = problem.normaliser.denormalise(batch.background.mean, batch.climatology)
    value = background[:, :, 0, 2, 5] + 4.0
    seen = Observations(
        "stations/made",
        operator,
        value[..., None],
        torch.ones(1, 1, 1, dtype=torch.bool),
        torch.full((1, 1, 1), 1e-6),
    )
    members = (
        fitted(problem, exact, 3000.0).analyse(replace(batch, observations=(seen,)), 8).members
    )
    met = members[0, :, 0, 0, 2, 5]
    torch.testing.assert_close(met, value[0, 0].expand(8), rtol=0, atol=0.02)
    # Beyond twice the half-width nothing moves, in any channel.
    distance = grid.distance(*grid.points, operator.latitude, operator.longitude)[:, 0]
    far = (distance > 6000.0).reshape(grid.shape)
    increment = members.mean(dim=1) - background
    assert float(increment[..., far].abs().max()) < 1e-3
    assert float(increment[0, 0, 1, 2, 5].abs()) > 1.0


def test_case_without_observations_is_the_background_ensemble(problem, exact) -> None:
    batch = problem.batch(cases=2)
    background = problem.normaliser.denormalise(batch.background.mean, batch.climatology)
    method = fitted(problem, exact)
    none = method.analyse(replace(batch, observations=()), 200)
    torch.testing.assert_close(none.mean, background, rtol=0, atol=1e-3)
    spread = problem.normaliser.sd * problem.variance.sqrt()
    ratio = none.spread.square().mean(dim=(0, -1, -2)) / spread.square().mean(dim=(-1, -2))
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.1)
    for which, o in enumerate(batch.observations):
        batch = masked(batch, which, torch.zeros_like(o.mask))
    assert torch.equal(method.analyse(batch, 200).members, none.members)


def test_larger_background_variance_trusts_the_observations_more(problem, exact) -> None:
    batch = problem.batch(cases=1)
    wide = replace(batch.background, variance=4 * batch.background.variance)
    method = fitted(problem, exact)
    one = method.analyse(batch, 4)
    two = method.analyse(replace(batch, background=wide), 4)
    stacked = stack_observations(batch, 0)
    left = [float((stacked.values - stacked.apply(e.mean)[0]).square().mean()) for e in (one, two)]
    assert left[1] < 0.9 * left[0]


def test_another_network_is_not_taken_for_the_first(problem, exact) -> None:
    batch = problem.batch(cases=1)
    alone = replace(batch, observations=batch.observations[1:])
    used = fitted(problem, exact, 4000.0)
    used.analyse(batch, 3)
    fresh = fitted(problem, exact, 4000.0)
    assert torch.equal(used.analyse(alone, 3).members, fresh.analyse(alone, 3).members)
    moved = replace(batch.observations[0], operator=batch.observations[0].operator.to("cpu"))
    copied = replace(batch, observations=(moved, batch.observations[1]))
    assert torch.equal(used.analyse(copied, 3).members, used.analyse(batch, 3).members)


def test_one_member_is_the_analysis(problem, exact) -> None:
    batch = problem.batch(cases=1)
    method = fitted(problem, exact)
    one, many = method.analyse(batch, 1), method.analyse(batch, 12)
    torch.testing.assert_close(one.members[:, 0], many.mean, rtol=0, atol=1e-3)


def test_refusals(problem, exact) -> None:
    with pytest.raises(UserError, match="half-width"):
        OptimalInterpolation(problem.normaliser, problem.grid, 0, localisation=20000.0)
    method = OptimalInterpolation(problem.normaliser, problem.grid, 0)
    with pytest.raises(UserError, match="the archive has 0 windows"):
        method.fit(Archive(exact.fields[:0], exact.background[:0], exact.time[:0]))
    with pytest.raises(UserError, match="optimal_interpolation needs a background"):
        fitted(problem, exact).analyse(replace(problem.batch(), background=None), 2)
