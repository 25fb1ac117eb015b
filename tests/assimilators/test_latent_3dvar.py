"""Variational analysis in latent space against closed forms, and what it must not depend on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from slams.assimilators.base import Archive
from slams.assimilators.latent_3dvar import Latent3DVar
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.errors import UserError
from slams.fields import Background
from slams.nn.latent_space import LatentSpace
from tests.assimilators.classical import fitted
from tests.assimilators.latent_gaussian import linear_space
from tests.assimilators.problems import LinearGaussian, linear_gaussian, masked


@pytest.fixture(scope="module")
def problem() -> LinearGaussian:
    return linear_gaussian()


def method(problem: LinearGaussian, past: Archive, space=None, **settings) -> Latent3DVar:
    made = Latent3DVar(
        problem.normaliser, problem.grid, 3, space=space or linear_space(problem), **settings
    )
    made.fit(past)
    return made


@pytest.fixture(scope="module")
def exact(problem):
    """An archive whose sample covariance is exactly B."""
    return problem.archive(problem.draw_exact(300, seed=2))


@pytest.fixture(scope="module")
def analysed(problem, exact):
    """An analysis with a covariance that is exactly B and no localisation."""
    batch = problem.batch(2)
    made = method(problem, exact, localisation=math.inf, archive_size=300)
    return batch, made.analyse(batch, 400).members


def test_mean_is_that_of_the_closed_form(problem, analysed) -> None:
    batch, members = analysed
    for case in range(2):
        mean, covariance = problem.posterior(batch, case)
        sd = covariance.diagonal().sqrt().reshape(mean.shape)
        error = problem.normalised(members, batch, case).mean(dim=0) - mean
        assert float((error / sd).abs().max()) < 0.02
        prior = batch.background.mean[case].double()
        assert float(((prior - mean) / sd).abs().max()) > 1.0


def test_ensemble_has_the_covariance_of_the_closed_form(problem, analysed) -> None:
    batch, members = analysed
    _, covariance = problem.posterior(batch)
    sample = problem.normalised(members, batch).double().flatten(1)
    sd = covariance.diagonal().sqrt()
    assert float((sample.std(dim=0) / sd).mean()) == pytest.approx(1.0, abs=0.03)
    # Along the directions that the observations have narrowed most, too.
    whiten = torch.linalg.inv(torch.linalg.cholesky(problem.covariance))
    left, turn = torch.linalg.eigh(whiten @ covariance @ whiten.T)
    narrow = (sample @ whiten.T @ turn[:, :10]).std(dim=0)
    assert float((narrow / left[:10].sqrt()).mean()) == pytest.approx(1.0, abs=0.08)


def test_agrees_with_optimal_interpolation_in_field_space(problem, exact, analysed) -> None:
    batch, members = analysed
    oi = fitted(OptimalInterpolation, problem, exact, localisation=math.inf)
    expected = oi.analyse(batch, 4).mean
    torch.testing.assert_close(members.mean(dim=1), expected, rtol=0, atol=0.05)


class Bent(nn.Module):
    """Decodes by a linear decoder and bends the result: u + a tanh(u)."""

    def __init__(self, decoder: nn.Module, strength: float) -> None:
        super().__init__()
        self.decoder, self.strength = decoder, strength

    def forward(self, latents: Tensor) -> Tensor:
        u = self.decoder(latents)
        return u + self.strength * torch.tanh(u)


def bent(problem: LinearGaussian, strength: float = 0.5) -> LatentSpace:
    plain = linear_space(problem)
    decoder = Bent(plain.decoder, strength)
    return LatentSpace(plain.encoder, decoder, plain.mean.flatten(), plain.sd.flatten())


def test_outer_loops_find_the_minimum_through_a_nonlinear_decoder(problem, monkeypatch) -> None:
    """Over the weights v of the archive, z = z_b + E v / sqrt(n - 1), the gradient vanishes."""
    space, batch = bent(problem), problem.batch(1)
    archive = problem.archive(problem.draw(80, seed=4))
    made = method(problem, archive, space, localisation=math.inf, outer_loops=20, archive_size=80)
    # What the decoder loses is measured by tests of its own.
    monkeypatch.setattr(made, "_decoder_variance", lambda operators, device: torch.zeros(10**4))
    errors = made.errors_of(batch)
    observations = made.observations_of(batch)
    observe = made.observer(batch, observations)
    root = errors.double().flatten(1).T / math.sqrt(len(errors) - 1)

    def cost(v: Tensor) -> Tensor:
        increment = (root @ v).reshape(1, *errors.shape[1:]).float()
        departure = observations.values - observations.select(observe(increment))[0]
        return 0.5 * (v @ v + (departure.double().square() / observations.variance).sum())

    captured = []
    original = made.state_of
    monkeypatch.setattr(
        made,
        "state_of",
        lambda b, increments: captured.append(increments) or original(b, increments),
    )
    made.analyse(batch, 2)
    found = captured[0].double().mean(dim=0).flatten()
    v = torch.linalg.lstsq(root, found[:, None]).solution[:, 0]
    v = v - v.mean()  # the errors are centred: equal weights of all days are nothing
    start = torch.autograd.functional.jacobian(cost, torch.zeros_like(v))
    gradient = torch.autograd.functional.jacobian(cost, v)
    assert float(gradient.norm()) < 2e-3 * float(start.norm())
    # One linearisation is not enough: the decoder's bend matters here.
    one = method(problem, archive, space, localisation=math.inf, outer_loops=1, archive_size=80)
    assert not torch.allclose(one.analyse(batch, 2).mean, made.analyse(batch, 2).mean, atol=0.05)


def test_the_decoders_error_is_counted_in_the_observations(problem) -> None:
    """A decoder that returns the climatology explains nothing: its error is all there is."""
    plain = linear_space(problem)

    class Nothing(nn.Module):
        def forward(self, latents: Tensor) -> Tensor:
            return 0.0 * plain.decoder(latents)

    space = LatentSpace(plain.encoder, Nothing(), plain.mean.flatten(), plain.sd.flatten())
    archive = problem.archive(problem.draw(60, seed=4))
    batch = problem.batch(1)
    made = method(problem, archive, space, archive_size=60)
    extra = (
        made.observations_of(batch).variance
        - method(problem, archive, archive_size=60).observations_of(batch).variance
    )
    operators = tuple(o.operator for o in batch.observations)
    seen = torch.cat(
        [o(archive.fields * problem.normaliser.sd) - o(0 * archive.fields) for o in operators], -1
    )
    torch.testing.assert_close(extra, seen.square().mean(dim=0)[0], rtol=1e-3, atol=1e-2)


def test_localisation_and_archive_size_reach_the_analysis(problem) -> None:
    archive, batch = problem.archive(problem.draw(60, seed=4)), problem.batch(1)
    local = method(problem, archive, localisation=1500.0)
    # With one observation only, far points keep the background.
    keep = torch.zeros_like(batch.observations[0].mask)
    keep[..., 0] = True
    one = masked(batch, 0, keep)
    one = replace(one, observations=one.observations[:1])
    none = local.analyse(replace(batch, observations=()), 3).members
    moved = (local.analyse(one, 3).members.mean(dim=1) - none.mean(dim=1)).abs()[0, 0, 0]
    far = problem.grid.distance(
        *(x.double() for x in problem.grid.points),
        one.observations[0].operator.latitude[:1].double(),
        one.observations[0].operator.longitude[:1].double(),
    ).reshape(problem.grid.shape)
    assert float(moved[far > 6000].max()) < 1e-3 < float(moved[far < 1500].max())
    few = method(problem, archive, localisation=1500.0, archive_size=20)
    assert len(few.errors_of(batch)) == 20


def test_a_case_does_not_depend_on_the_batch_nor_on_the_truth(problem) -> None:
    archive, batch = problem.archive(problem.draw(40, seed=4)), problem.batch(3)
    made = method(problem, archive)
    whole = made.analyse(batch, 3).members
    assert torch.equal(whole[1:2], made.analyse(batch.select(slice(1, 2)), 3).members)
    blind = replace(batch, fields=torch.full_like(batch.fields, torch.nan))
    assert torch.equal(made.analyse(blind, 3).members, whole)
    silent = batch
    for which, observations in enumerate(batch.observations):
        silent = masked(silent, which, torch.zeros_like(observations.mask))
    none = made.analyse(replace(batch, observations=()), 3).members
    assert torch.equal(made.analyse(silent, 3).members, none)
    assert not torch.allclose(whole, none)


def test_what_is_missing_of_background_and_archive_is_masked(problem) -> None:
    batch = problem.batch(1)
    errors = problem.draw(40, seed=4)
    known = torch.rand(errors.shape, generator=torch.Generator().manual_seed(8)) < 0.9
    results = []
    for filler in (0.0, 7.0):
        archive = problem.archive(errors)
        archive = replace(
            archive,
            fields=torch.where(known, archive.fields, filler),
            background=torch.where(known, archive.background, filler),
            known=known,
            background_known=known,
        )
        there = known[:1]
        mean = torch.where(there, batch.background.mean, filler)
        background = Background(mean, batch.background.variance, known=there)
        made = method(problem, archive)
        results.append(made.analyse(replace(batch, background=background), 2).members)
    assert torch.equal(*results)


def test_refusals(problem) -> None:
    archive = problem.archive(problem.draw(10, seed=4))
    with pytest.raises(UserError, match="half-width"):
        method(problem, archive, localisation=20000.0)
    with pytest.raises(UserError, match="needs a background"):
        method(problem, archive).analyse(replace(problem.batch(1), background=None), 2)
