"""Methods start from a first guess as they would from a background."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slams.assimilators.background import BackgroundEnsemble
from slams.assimilators.base import Archive
from slams.assimilators.enkf import EnKF
from slams.assimilators.first_guess import ClimatologyGuess, FirstGuess, OnFirstGuess
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.errors import UserError
from slams.fields import Background
from tests.assimilators.autoregressive import Autoregressive
from tests.assimilators.problems import linear_gaussian


class Doubled(FirstGuess):
    """Doubles the background."""

    name = "doubled"
    fits = 0

    def hindcast(self, archive: Archive) -> Tensor:
        self.fits += 1
        return 2 * archive.background

    def forecast(self, background: Tensor, time: Tensor, known: Tensor | None = None) -> Tensor:
        return 2 * background


@pytest.fixture(scope="module")
def problem():
    return linear_gaussian()


def halved(background: Background) -> Background:
    # Its variance is wrong on purpose: that of the first guess must take its place.
    return replace(background, mean=background.mean / 2, variance=9 * background.variance)


@pytest.mark.parametrize("kind", [OptimalInterpolation, EnKF])
def test_a_guess_that_repairs_the_background_gives_the_analysis_of_a_good_one(problem, kind):
    archive = problem.archive(problem.draw(60, seed=2))
    plain = kind(problem.normaliser, problem.grid, 3)
    plain.fit(archive)
    method = OnFirstGuess(kind(problem.normaliser, problem.grid, 3), Doubled())
    method.fit(replace(archive, background=archive.background / 2))
    batch = problem.batch(cases=2)
    known = (archive.fields - archive.background).square().mean(dim=0)
    good = replace(batch.background, variance=known.expand_as(batch.background.mean))
    expected = plain.analyse(replace(batch, background=good), 8)
    found = method.analyse(replace(batch, background=halved(batch.background)), 8)
    assert found.method == f"{plain.name}@doubled" == method.name
    torch.testing.assert_close(found.members, expected.members, rtol=1e-4, atol=1e-2)
    assert float((found.members - expected.members).square().mean().sqrt()) < 1e-3


def test_a_case_does_not_depend_on_its_batch(problem):
    method = OnFirstGuess(OptimalInterpolation(problem.normaliser, problem.grid, 3), Doubled())
    method.fit(problem.archive(problem.draw(60, seed=2)))
    batch = problem.batch(cases=3)
    whole = method.analyse(batch, 4).members
    assert torch.equal(whole[1:2], method.analyse(batch.select(slice(1, 2)), 4).members)


def test_methods_share_one_fit(problem):
    archive, guess = problem.archive(problem.draw(60, seed=2)), Doubled()
    for kind in (OptimalInterpolation, BackgroundEnsemble):
        OnFirstGuess(kind(problem.normaliser, problem.grid, 3), guess).fit(archive)
    assert guess.fits == 1
    guess.fit(replace(archive))
    assert guess.fits == 2


def test_errors_of_missing_fields_do_not_count(problem):
    archive, guess = problem.archive(problem.draw(60, seed=2)), Doubled()
    known = torch.ones_like(archive.fields, dtype=torch.bool)
    known[:30, :, 0] = False
    guess.fit(replace(archive, fields=torch.where(known, archive.fields, 0.0), known=known))
    error = archive.fields - 2 * archive.background
    expected = error.square().mean(dim=0)
    expected[:, 0] = error[30:, :, 0].square().mean(dim=0)
    torch.testing.assert_close(guess.variance, expected, rtol=1e-4, atol=0)


def test_climatology_takes_the_background_away():
    world = Autoregressive(days=600)
    method = OnFirstGuess(BackgroundEnsemble(world.normaliser, world.grid, 0), ClimatologyGuess())
    method.fit(world.archive)
    assert float(method.first_guess.variance.mean()) == pytest.approx(1.0, rel=0.1)
    batch = world.batch(torch.tensor([5, 40]))
    torch.testing.assert_close(
        method.analyse(batch, 16).mean, batch.climatology, rtol=0, atol=1e-3
    )
    assert method._guess(batch, batch.background).kind == "climatology"
    assert float(batch.background.mean.square().mean()) > 0.1


def test_refuses_a_batch_without_background(problem):
    method = OnFirstGuess(BackgroundEnsemble(problem.normaliser, problem.grid, 0), Doubled())
    method.fit(problem.archive(problem.draw(60, seed=2)))
    with pytest.raises(UserError, match="background@doubled needs a background"):
        method.analyse(replace(problem.batch(), background=None), 2)
