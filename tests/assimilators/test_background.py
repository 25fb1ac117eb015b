from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slams.assimilators.background import BackgroundEnsemble
from slams.assimilators.background_errors import BackgroundErrors
from slams.errors import UserError
from tests.assimilators.autoregressive import Autoregressive
from tests.assimilators.problems import linear_gaussian


@pytest.fixture(scope="module")
def world():
    return Autoregressive(days=2000)


def fitted(world) -> BackgroundEnsemble:
    method = BackgroundEnsemble(world.normaliser, world.grid, 0)
    method.fit(world.archive)
    return method


def test_mean_is_the_background_and_spread_matches_its_error(world) -> None:
    batch = world.batch(torch.arange(10, 1400, 14))
    ensemble = fitted(world).analyse(batch, 16)
    background = world.normaliser.denormalise(batch.background.mean, batch.climatology)
    torch.testing.assert_close(ensemble.mean, background, rtol=0, atol=1e-3)
    truth = world.normaliser.denormalise(batch.fields, batch.climatology)
    variance = float(ensemble.spread.square().mean())
    assert variance == pytest.approx(4 * (1 - 0.64**2), rel=0.06)
    assert variance == pytest.approx(float((ensemble.mean - truth).square().mean()), rel=0.08)


def test_follows_the_variance_that_comes_with_the_background(world) -> None:
    batch = world.batch(torch.tensor([30, 60]))
    background = batch.background
    variance = background.variance.clone()
    variance[0] *= 4
    wider = replace(batch, background=replace(background, variance=variance))
    one, two = (fitted(world).analyse(b, 8).spread for b in (batch, wider))
    torch.testing.assert_close(two[0], 2 * one[0], rtol=1e-4, atol=0)
    assert torch.equal(two[1], one[1])


def test_errors_keep_their_correlations() -> None:
    problem = linear_gaussian()
    archive = problem.archive(problem.draw_exact(400, seed=2))
    method = BackgroundEnsemble(problem.normaliser, problem.grid, 0)
    method.fit(archive)
    batch = problem.batch()
    # As many members as days: their covariance is the archive's, which is exactly B.
    members = method.analyse(batch, 400).members
    covariance = torch.cov(problem.normalised(members, batch).flatten(1).T)
    torch.testing.assert_close(covariance.double(), problem.covariance, rtol=0, atol=1e-3)


def test_errors_of_points_that_hardly_vary_stay_small() -> None:
    problem = linear_gaussian()
    errors = problem.draw(100, seed=3)
    errors[:, 0, 0, 0, 0] = 0.0
    errors[:, 0, 0, 0, 1] *= 1e-3
    found = BackgroundErrors(problem.archive(errors)).of(torch.arange(100), problem.variance)
    assert bool(torch.isfinite(found).all())
    assert float(found[:, 0, 0, 0, :2].abs().max()) < 0.02


def test_turned_copies_keep_the_variance_of_each_place() -> None:
    problem = linear_gaussian()
    errors = problem.draw_exact(400, seed=2)
    made = BackgroundErrors(problem.archive(errors))
    own = made.of(torch.arange(400), problem.variance)
    found = made.of(torch.arange(400), problem.variance, shifts=2)
    assert found.shape[0] == 5 * 400
    assert torch.equal(found[:400], own)
    for copy in found.split(400):
        torch.testing.assert_close(
            copy.var(dim=0), problem.variance.to(copy), rtol=1e-3, atol=1e-5
        )
    # The second copy is turned by a cell: what stood west of a place now stands there.
    turned, here = (x / x.std(dim=0) for x in (found[400:800], own))
    matching = [
        k for k in (-1, 1) if torch.allclose(turned, here.roll(k, -1), rtol=1e-3, atol=1e-4)
    ]
    assert matching == [-1]


def test_refuses_a_batch_without_background(world) -> None:
    batch = replace(world.batch(torch.tensor([3])), background=None)
    with pytest.raises(UserError, match="background needs a background"):
        fitted(world).analyse(batch, 2)
