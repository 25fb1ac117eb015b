"""What holds for both ensemble Kalman filters."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from slams.assimilators.enkf import EnKF
from slams.assimilators.ensemble_kalman import relax_to_prior_spread
from slams.assimilators.letkf import LETKF
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.errors import UserError
from tests.assimilators.classical import fitted, warped
from tests.assimilators.problems import linear_gaussian, masked

FILTERS = pytest.mark.parametrize("kind", [EnKF, LETKF])


@pytest.fixture(scope="module")
def problem():
    return linear_gaussian()


@pytest.fixture(scope="module")
def archive(problem):
    return problem.archive(problem.draw(60, seed=7))


def sd(perturbations: torch.Tensor) -> torch.Tensor:
    return perturbations.std(dim=0, correction=1)


@FILTERS
def test_without_localisation_it_is_the_posterior_of_the_ensembles_covariance(
    problem, kind
) -> None:
    # Some more members than the state has components, their covariance exactly B.
    archive = problem.archive(problem.draw_exact(300, seed=2))
    method = fitted(kind, problem, archive, ensemble=300, localisation=math.inf)
    batch = problem.batch(seed=3)
    mean, covariance = problem.posterior(batch)
    found, perturbations = method.analyse_ensemble(batch)
    torch.testing.assert_close(found.double(), mean, rtol=0, atol=3e-4)
    sample = torch.cov(perturbations.flatten(1).T.double())
    off = (sample - covariance) / torch.outer(covariance.diag(), covariance.diag()).sqrt()
    # The transform is exact; perturbed observations are a sample of R.
    assert float(off.abs().max()) < (1e-3 if kind is LETKF else 0.3)
    ratio = float((sample.diag() / covariance.diag()).mean())
    assert ratio == pytest.approx(1.0, abs=1e-3 if kind is LETKF else 0.03)
    assert float((problem.covariance.diag() / covariance.diag()).mean()) > 2


@FILTERS
def test_sampled_ensemble_gives_the_posterior_within_monte_carlo_error(problem, kind) -> None:
    batch = problem.batch(seed=4)
    mean, covariance = problem.posterior(batch)
    deviation = covariance.diag().sqrt().reshape(problem.shape)
    archive = problem.archive(problem.draw(500, seed=5))
    errors = []
    for size in (30, 240):
        method = fitted(kind, problem, archive, ensemble=size, localisation=math.inf)
        found, _ = method.analyse_ensemble(batch)
        errors.append(float(((found - mean) / deviation).square().mean().sqrt()))
    assert errors[1] < 0.5
    assert errors[0] > 2 * errors[1]


def test_enkf_of_the_whole_archive_has_the_mean_of_optimal_interpolation(problem, archive) -> None:
    batch = problem.batch(cases=2, seed=6)
    filtered = fitted(EnKF, problem, archive, ensemble=60, localisation=4000.0)
    interpolated = fitted(OptimalInterpolation, problem, archive, localisation=4000.0)
    one, two = (
        m.analyse(batch, 10).mean / problem.normaliser.sd for m in (filtered, interpolated)
    )
    torch.testing.assert_close(one, two, rtol=0, atol=1e-4)
    few = fitted(EnKF, problem, archive, ensemble=20, localisation=4000.0).analyse(batch, 10)
    assert float((few.mean / problem.normaliser.sd - two).abs().max()) > 0.1


def test_letkf_equals_kalman_updates_with_tapered_precision_at_each_point(
    problem, archive
) -> None:
    """At a point, R-localisation is a Kalman update with R / L; here in observation space."""
    batch = problem.batch(seed=6)
    mask = torch.rand(1, 1, 25, generator=torch.Generator().manual_seed(2)) > 0.3
    batch = masked(batch, 0, mask)
    method = fitted(LETKF, problem, archive, ensemble=60, localisation=2500.0)
    found, perturbations = method.analyse_ensemble(batch)

    e = (archive.fields - archive.background).double()
    e = e - e.mean(dim=0)
    e = e * (problem.variance.double() / e.var(dim=0)).sqrt()
    sample = e.flatten(1).T @ e.flatten(1) / 59
    g = problem.matrix(batch)
    observations = batch.observations
    at = torch.cat([o.operator.latitude for o in observations])
    on = torch.cat([o.operator.longitude for o in observations])
    active = torch.cat([o.mask[0, 0] for o in observations])
    values = torch.cat([o.values[0, 0] for o in observations])[active].double()
    variance = torch.cat([o.error_variance[0, 0] for o in observations])[active].double()
    state = problem.normaliser.denormalise(batch.background.mean, batch.climatology)[0]
    departure = values - torch.cat([o.operator(state)[0] for o in observations])[active]
    latitude, longitude = problem.grid.points
    points = problem.grid.shape[0] * problem.grid.shape[1]
    for point in (0, 37, 70, 127):
        here = latitude[point : point + 1], longitude[point : point + 1]
        z = problem.grid.distance(*here, at, on)[0, active] / 2500.0
        taper = torch.where(
            z <= 1,
            1 - 5 / 3 * z**2 + 5 / 8 * z**3 + z**4 / 2 - z**5 / 4,
            4 - 5 * z + 5 / 3 * z**2 + 5 / 8 * z**3 - z**4 / 2 + z**5 / 12 - 2 / (3 * z),
        )
        near = z < 2
        assert 2 < int(near.sum()) < len(values)
        h = g[near]
        s = h @ sample @ h.T + torch.diag(variance[near] / taper[near])
        gain = torch.linalg.solve(s, h @ sample).T
        increment = gain @ departure[near]
        after = sample - gain @ h @ sample
        for channel in (0, 1):
            index = channel * points + point
            mean = batch.background.mean.flatten()[index] + increment[index]
            assert float(found.flatten()[index]) == pytest.approx(float(mean), abs=1e-4)
            spread = float(sd(perturbations).flatten()[index])
            assert spread == pytest.approx(float(after[index, index].sqrt()), rel=1e-4)


def test_letkf_perturbations_stay_centred_and_near_the_prior(problem, archive) -> None:
    batch = problem.batch(seed=6)
    method = fitted(LETKF, problem, archive, ensemble=60)
    _, perturbations = method.analyse_ensemble(batch)
    assert float(perturbations.mean(dim=0).abs().max()) < 1e-5
    # Of all square roots the symmetric one moves members least: each resembles its own prior.
    _, prior = method.analyse_ensemble(replace(batch, observations=()))
    own = (perturbations * prior).sum()
    shuffled = (perturbations * prior.roll(1, 0)).sum()
    assert float(own) > 10 * abs(float(shuffled))


def test_letkf_resolves_very_precise_observations(problem, archive) -> None:
    batch = problem.batch(seed=6)
    precise = replace(
        batch,
        observations=tuple(
            replace(o, error_variance=o.error_variance * 1e-6) for o in batch.observations[:1]
        ),
    )
    method = fitted(LETKF, problem, archive, ensemble=60, localisation=math.inf)
    found, _ = method.analyse_ensemble(precise)
    interpolated = fitted(OptimalInterpolation, problem, archive, localisation=math.inf)
    expected = interpolated.analyse(precise, 1).members[0, 0]
    expected = problem.normaliser.normalise(expected[None], batch.climatology)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


@FILTERS
def test_inflation_multiplies_the_prior_spread(problem, archive, kind) -> None:
    batch = problem.batch(seed=6)
    none = replace(batch, observations=())
    one, two = (
        fitted(kind, problem, archive, ensemble=60, localisation=math.inf, inflation=factor)
        for factor in (1.0, 1.5)
    )
    _, plain = one.analyse_ensemble(none)
    _, inflated = two.analyse_ensemble(none)
    torch.testing.assert_close(inflated, 1.5 * plain, rtol=1e-6, atol=0)
    # The same as a background whose error variance is larger by the square of the factor.
    wide = replace(batch.background, variance=1.5**2 * batch.background.variance)
    expected, spread = one.analyse_ensemble(replace(batch, background=wide))
    found, perturbations = two.analyse_ensemble(batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(perturbations, spread, rtol=0, atol=1e-4)


def test_relaxation_to_prior_spread_mixes_the_spreads() -> None:
    generator = torch.Generator().manual_seed(0)
    prior, analysis = torch.randn(2, 40, 1, 2, 3, 4, generator=generator)
    prior, analysis = (2 * (x - x.mean(dim=0)) for x in (prior, 0.3 * analysis))
    for rtps in (0.0, 0.4, 1.0):
        relaxed = relax_to_prior_spread(prior, analysis, rtps)
        torch.testing.assert_close(sd(relaxed), rtps * sd(prior) + (1 - rtps) * sd(analysis))
        # Directions are those of the analysis.
        ratio = relaxed / analysis
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    still = torch.zeros_like(analysis)
    assert bool(torch.isfinite(relax_to_prior_spread(prior, still, 1.0)).all())


@FILTERS
def test_full_relaxation_keeps_the_mean_and_gives_the_prior_spread(problem, archive, kind) -> None:
    batch = problem.batch(seed=6)
    plain, relaxed = (
        fitted(kind, problem, archive, ensemble=60, rtps=share) for share in (0.0, 1.0)
    )
    mean, before = plain.analyse_ensemble(batch)
    same, after = relaxed.analyse_ensemble(batch)
    _, prior = plain.analyse_ensemble(replace(batch, observations=()))
    assert torch.equal(mean, same)
    torch.testing.assert_close(sd(after), sd(prior), rtol=1e-4, atol=0)
    assert float((sd(before) / sd(prior)).mean()) < 0.8


@FILTERS
def test_members_keep_the_mean_and_on_average_the_spread_of_all(problem, archive, kind) -> None:
    batch = problem.batch(cases=40, seed=6)
    method = fitted(kind, problem, archive, ensemble=30)
    ensemble = method.analyse(batch, 10)
    ratios = []
    for case in range(len(batch)):
        one = batch.select(slice(case, case + 1))
        mean, perturbations = method.analyse_ensemble(one)
        members = problem.normalised(ensemble.members, batch, case)
        torch.testing.assert_close(members.mean(dim=0), mean, rtol=0, atol=1e-4)
        ratios.append(float(members.var(dim=0).mean() / perturbations.var(dim=0).mean()))
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.06)
    # One member is the analysis itself, and more members than the ensemble has are given too.
    alone = method.analyse(one, 1).members[:, 0]
    torch.testing.assert_close(alone, method.analyse(one, 50).mean, rtol=0, atol=1e-3)


@FILTERS
def test_numbers_do_not_depend_on_the_batch(problem, archive, kind) -> None:
    batch = problem.batch(cases=4)
    generator = torch.Generator().manual_seed(1)
    for which, o in enumerate(batch.observations):
        batch = masked(batch, which, torch.rand(o.mask.shape, generator=generator) > 0.3)
    whole = fitted(kind, problem, archive, ensemble=30).analyse(batch, 6).members
    method = fitted(kind, problem, archive, ensemble=30)
    for case in (3, 0):
        alone = method.analyse(batch.select(slice(case, case + 1)), 6).members
        assert torch.equal(alone[0], whole[case])
    other = fitted(kind, problem, archive, ensemble=30, seed=1).analyse(batch, 6).members
    assert not torch.equal(other, whole)


@FILTERS
def test_masked_observations_have_no_effect_at_all(problem, archive, kind) -> None:
    batch = problem.batch()
    mask = torch.rand(1, 1, 25, generator=torch.Generator().manual_seed(2)) > 0.5
    hidden = masked(batch, 0, mask)
    first = hidden.observations[0]
    first = replace(first, values=torch.where(mask, first.values, 1e30))
    other = replace(hidden, observations=(first, *hidden.observations[1:]))
    method = fitted(kind, problem, archive, ensemble=30)
    one, two = (method.analyse(b, 4).members for b in (hidden, other))
    assert torch.equal(one, two)
    assert not torch.equal(one, method.analyse(batch, 4).members)


@FILTERS
def test_no_observation_in_reach_leaves_the_prior(problem, archive, kind) -> None:
    batch = problem.batch()
    mask = torch.zeros(1, 1, 25, dtype=torch.bool)
    mask[0, 0, 3] = True
    batch = masked(batch, 0, mask)
    batch = masked(batch, 1, torch.zeros_like(batch.observations[1].mask))
    method = fitted(kind, problem, archive, ensemble=30, localisation=1500.0)
    mean, perturbations = method.analyse_ensemble(batch)
    _, prior = method.analyse_ensemble(replace(batch, observations=()))
    operator = batch.observations[0].operator
    distance = problem.grid.distance(
        *problem.grid.points, operator.latitude[3:4], operator.longitude[3:4]
    )
    far = (distance[:, 0] > 3000.0).reshape(problem.grid.shape)
    assert torch.equal(mean[..., far], batch.background.mean[0][..., far])
    torch.testing.assert_close(perturbations[..., far], prior[..., far], rtol=0, atol=1e-5)
    assert float((mean - batch.background.mean[0])[..., ~far].abs().max()) > 0.05


@FILTERS
def test_nonlinear_operators_are_seen_as_the_members_see_them(problem, archive, kind) -> None:
    batch = warped(problem.batch(seed=3), 0.8)
    method = fitted(kind, problem, archive, ensemble=60, localisation=math.inf)
    found, _ = method.analyse_ensemble(batch)
    _, prior = method.analyse_ensemble(replace(batch, observations=()))
    state = (batch.background.mean[0] + prior).double() * problem.normaliser.sd.double()
    state = state + batch.climatology[0]
    images = torch.cat([o.operator(state)[:, 0] for o in batch.observations], dim=1)
    values = torch.cat([o.values[0, 0] for o in batch.observations])
    variance = torch.cat([o.error_variance[0, 0] for o in batch.observations]).double()
    y = images - images.mean(dim=0)
    s = y.T @ y / 59 + torch.diag(variance)
    weights = torch.linalg.solve(s, values - images.mean(dim=0))
    increment = (prior.flatten(1).double().T @ (y @ weights) / 59).reshape(problem.shape)
    expected = batch.background.mean[0] + increment
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=3e-4)
    assert float(increment.abs().max()) > 0.5


def test_refusals(problem, archive) -> None:
    for settings, message in (
        ({"ensemble": 1}, "letkf: ensemble is 1, expected at least 2"),
        ({"inflation": 0.0}, "letkf: inflation is 0"),
        ({"rtps": 1.5}, "letkf: rtps is 1.5"),
        ({"localisation": 20000.0}, "half-width"),
    ):
        with pytest.raises(UserError, match=message):
            LETKF(problem.normaliser, problem.grid, 0, **settings)
    batch = problem.batch()
    perfect = replace(
        batch.observations[0], error_variance=torch.zeros_like(batch.observations[0].values)
    )
    with pytest.raises(UserError, match="error variance of 0"):
        fitted(LETKF, problem, archive).analyse(replace(batch, observations=(perfect,)), 2)
