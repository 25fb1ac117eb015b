"""Latent diffusion against a posterior known in closed form, and what it must not depend on."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.latent_diffusion import LatentDiffusion
from slams.diffusion.backend import DiracPosterior
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.errors import UserError
from slams.fields import Background, Batch
from slams.observations.stations import StationOperator
from tests.assimilators.latent_gaussian import ExactDenoiser, Setup, assimilator, linear_space
from tests.assimilators.problems import LinearGaussian, linear_gaussian, masked

MEMBERS = 1000
KINDS = ("decg", "mmps")
# With those that are not calibrated: what they must not depend on is the same.
EVERY = (*KINDS, "sda", "dps", "pgdm")


@pytest.fixture(scope="module")
def problem() -> LinearGaussian:
    return linear_gaussian()


@pytest.fixture(scope="module")
def quick(problem: LinearGaussian) -> dict[str, Setup]:
    """Return an assimilator of each kind with little effort: for what it depends on."""
    return {kind: assimilator(problem, kind, archive=40, steps=4) for kind in EVERY}


def calibration(
    problem: LinearGaussian, members: Tensor, mean: Tensor, covariance: Tensor
) -> tuple[float, float, float]:
    """Compare normalised members `(M, ...)` with a Gaussian.

    Gives the error of the mean in standard deviations, the ratio of standard deviations, and
    the same along the ten directions that the observations have narrowed most.
    """
    sample = members.double().flatten(1)
    sd = covariance.diagonal().sqrt()
    error = ((sample.mean(dim=0) - mean.flatten()) / sd).square().mean().sqrt()
    ratio = (sample.std(dim=0) / sd).mean()
    whiten = torch.linalg.inv(torch.linalg.cholesky(problem.covariance))
    left, turn = torch.linalg.eigh(whiten @ covariance @ whiten.T)
    narrow = (sample @ whiten.T @ turn[:, :10]).std(dim=0)
    return float(error), float(ratio), float((narrow / left[:10].sqrt()).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_ensemble_is_the_posterior(problem: LinearGaussian, kind: str) -> None:
    """Monte-Carlo error of the mean is 1 / sqrt(400) = 0.05; the archive has 3000 days."""
    method = assimilator(problem, kind, iterations=15).method
    cases = 2 if kind == "decg" else 1  # the other takes a Jacobian at each step
    batch = problem.batch(cases)
    members = method.analyse(batch, 400).members
    for case in range(cases):
        mean, covariance = problem.posterior(batch, case)
        found = calibration(problem, problem.normalised(members, batch, case), mean, covariance)
        assert found[0] < 0.13
        assert 0.95 < found[1] < 1.06
        assert 0.9 < found[2] < 1.1
        # The test has teeth: the observations move the mean and narrow the spread.
        prior = batch.background.mean[case].double()
        sd = covariance.diagonal().sqrt()
        assert float(((prior - mean).flatten() / sd).square().mean().sqrt()) > 0.5
        assert float((sd / problem.covariance.diagonal().sqrt()).mean()) < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_two_days(kind: str) -> None:
    problem = linear_gaussian(days=2)
    method = assimilator(problem, kind, archive=2000, steps=16, iterations=15).method
    batch = problem.batch(1)
    # The second day's stations are silent: it learns from the first day.
    quiet = batch.observations[0].mask.clone()
    quiet[:, 1] = False
    batch = masked(batch, 0, quiet)
    members = method.analyse(batch, 200).members
    assert members.shape == (1, 200, *problem.shape)
    mean, covariance = problem.posterior(batch)
    error, ratio, narrowed = calibration(
        problem, problem.normalised(members, batch), mean, covariance
    )
    assert error < 0.2
    assert 0.93 < ratio < 1.07
    assert 0.87 < narrowed < 1.13


def test_without_observations_the_ensemble_is_the_prior(problem: LinearGaussian) -> None:
    method = assimilator(problem, archive=10, steps=24).method
    batch = replace(problem.batch(1), observations=())
    members = method.analyse(batch, MEMBERS).members
    error, ratio, _ = calibration(
        problem,
        problem.normalised(members, batch),
        batch.background.mean[0].double(),
        problem.covariance,
    )
    assert error < 0.09
    assert 0.97 < ratio < 1.03


@pytest.mark.parametrize("kind", EVERY)
def test_withheld_observations_equal_none(quick: dict[str, Setup], problem, kind: str) -> None:
    method, batch = quick[kind].method, problem.batch(1)
    none = method.analyse(replace(batch, observations=()), 3).members
    silent = batch
    for which, observations in enumerate(batch.observations):
        silent = masked(silent, which, torch.zeros_like(observations.mask))
    assert torch.equal(method.analyse(silent, 3).members, none)
    assert not torch.allclose(method.analyse(batch, 3).members, none)


def test_a_withheld_modality_equals_not_having_it(problem: LinearGaussian) -> None:
    """Up to the rounding of sums over arrays of another length."""
    batch = problem.batch(1)
    withheld = masked(batch, 1, torch.zeros_like(batch.observations[1].mask))
    alone = replace(batch, observations=batch.observations[:1])
    for kind in KINDS:
        # A fresh one each: denoising errors are measured for one network at a time.
        one = assimilator(problem, kind, archive=40, steps=4).method.analyse(withheld, 3)
        other = assimilator(problem, kind, archive=40, steps=4).method.analyse(alone, 3)
        torch.testing.assert_close(one.members, other.members, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("kind", EVERY)
def test_masked_values_have_no_effect_at_all(quick, problem, kind: str) -> None:
    method, batch = quick[kind].method, problem.batch(1)
    mask = torch.rand(batch.observations[0].mask.shape) < 0.5
    nan = masked(batch, 0, mask)
    observations = nan.observations[0]
    huge = replace(
        observations,
        values=torch.where(mask, observations.values, 1e9),
        error_variance=torch.where(mask, observations.error_variance, -1.0),
    )
    huge = replace(nan, observations=(huge, nan.observations[1]))
    assert torch.equal(method.analyse(nan, 3).members, method.analyse(huge, 3).members)


@pytest.mark.parametrize("kind", EVERY)
def test_the_truth_is_not_read(quick, problem, kind: str) -> None:
    method, batch = quick[kind].method, problem.batch(1)
    blind = replace(
        batch, fields=torch.full_like(batch.fields, torch.nan), mask=torch.zeros_like(batch.mask)
    )
    assert torch.equal(method.analyse(blind, 3).members, method.analyse(batch, 3).members)


@pytest.mark.parametrize("kind", EVERY)
def test_a_case_does_not_depend_on_the_batch_to_the_last_bit(quick, problem, kind: str) -> None:
    method, batch = quick[kind].method, problem.batch(4)
    whole = method.analyse(batch, 3).members
    for case in (0, 3):
        alone = method.analyse(batch.select(slice(case, case + 1)), 3).members
        assert torch.equal(whole[case : case + 1], alone)
    back = method.analyse(batch.select(slice(1, 3)), 3).members
    assert torch.equal(whole[1:3], back)
    # The same case number gives the same noise, another one another.
    other = replace(batch.select(slice(0, 1)), case=torch.tensor([99]))
    assert not torch.allclose(method.analyse(other, 3).members, whole[:1])


@pytest.mark.parametrize("kind", EVERY)
def test_a_member_not_centred_does_not_depend_on_how_many_there_are(
    quick, problem, kind: str, monkeypatch
) -> None:
    method, batch = quick[kind].method, problem.batch(1)
    monkeypatch.setattr(method, "sampler", replace(method.sampler, centred=False))
    many, few = method.analyse(batch, 7).members, method.analyse(batch, 2).members
    torch.testing.assert_close(many[:, :2], few, rtol=1e-4, atol=2e-3)
    assert not torch.allclose(many[:, 0], many[:, 1], atol=0.1)


def test_what_was_analysed_before_has_no_influence(quick, problem) -> None:
    """Networks are known by what they observe: a change of channel at the same places counts."""
    batch = problem.batch(1)
    stations = batch.observations[0]
    operator = StationOperator(
        problem.grid,
        problem.normaliser.channels,
        "outgoing_longwave_radiation",
        stations.operator.latitude,
        stations.operator.longitude,
    )
    elsewhere = replace(stations, operator=operator, values=stations.values - 50.0)
    other = replace(batch, observations=(elsewhere, *batch.observations[1:]))
    fresh = assimilator(problem, archive=40, steps=4).method
    expected = fresh.analyse(other, 3).members
    used = quick["decg"].method
    used.analyse(batch, 3)
    assert torch.equal(used.analyse(other, 3).members, expected)


def test_the_denoiser_is_told_background_and_season(problem: LinearGaussian) -> None:
    setup = assimilator(problem, archive=10, steps=4)
    batch = problem.batch(1)
    setup.denoiser.seen.clear()
    setup.method.analyse(replace(batch, observations=()), 3)
    encoded = setup.space.encode(batch.background.mean)
    season = float(batch.time[0, 0]) / 365.2425 % 1
    assert len(setup.denoiser.seen) == 4
    for seen in setup.denoiser.seen:
        assert seen["condition"].shape[0] == 3
        torch.testing.assert_close(seen["condition"][2:], encoded)
        torch.testing.assert_close(seen["season"], torch.full((3,), season))


def test_a_climatological_background_is_hidden_everywhere(problem: LinearGaussian) -> None:
    """The prior is then N(0, B), and denoising errors are measured without a condition too."""
    setup = assimilator(problem)
    errors = problem.draw(3000, 5).float()
    time = problem.archive(errors).time
    setup.method.fit(Archive(errors, torch.zeros_like(errors), time))
    batch = problem.batch(1, mean=0.0)
    background = replace(batch.background, kind="climatology")
    batch = replace(batch, background=background)
    setup.denoiser.seen.clear()
    members = setup.method.analyse(batch, MEMBERS).members
    assert all(seen["condition"] is None for seen in setup.denoiser.seen)
    mean, covariance = problem.posterior(batch)
    error, ratio, _ = calibration(problem, problem.normalised(members, batch), mean, covariance)
    assert error < 0.1
    assert 0.95 < ratio < 1.06


def test_unknown_parts_of_a_background_are_masked(quick, problem) -> None:
    method, batch = quick["decg"].method, problem.batch(1)
    known = torch.ones_like(batch.mask)
    known[:, :, 1] = False
    results = []
    for filler in (0.0, 4.0):
        mean = torch.where(known, batch.background.mean, filler)
        background = Background(mean, batch.background.variance, known=known)
        results.append(
            method.analyse(replace(batch, background=background, observations=()), 2).members
        )
    assert torch.equal(*results)


def test_missing_values_of_the_archive_are_masked(problem: LinearGaussian) -> None:
    batch, setup = problem.batch(1), assimilator(problem, archive=40, steps=4)
    archive = setup.method.archive
    known = torch.rand(archive.fields.shape, generator=torch.Generator().manual_seed(8)) < 0.9
    results = []
    for filler in (0.0, 9.0):
        fields, background = (
            torch.where(known, x, filler) for x in (archive.fields, archive.background)
        )
        setup.method.fit(Archive(fields, background, archive.time, known, known))
        results.append(setup.method.analyse(batch, 2).members)
    assert torch.equal(*results)


class Diverging(ExactDenoiser):
    """Throws one member out of bounds, once."""

    def __init__(self, problem: LinearGaussian, space) -> None:
        super().__init__(problem, space)
        self.calls = 0

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        posterior = super().forward(x_t, t, **condition)
        self.calls += 1
        if self.calls == 4 and x_t.shape[0] == 3:
            posterior.mean = posterior.mean.clone()
            posterior.mean[1] = torch.nan
        return posterior


def test_a_member_that_diverges_is_drawn_again_and_reported(problem: LinearGaussian) -> None:
    space = linear_space(problem)
    batch = replace(problem.batch(2), observations=())

    def analyse(kind: type[ExactDenoiser]):
        method = LatentDiffusion(
            problem.normaliser,
            problem.grid,
            3,
            space=space,
            denoiser=kind(problem, space),
            guidance=GuidanceSettings(archive=10),
            sampler=SamplerSettings(steps=4),
        )
        method.fit(problem.archive(problem.draw(10, 5)))
        return method.analyse(batch, 3)

    whole, redrawn = analyse(ExactDenoiser), analyse(Diverging)
    assert whole.diverged.tolist() == [0, 0]
    assert redrawn.diverged.tolist() == [1, 0]
    assert torch.isfinite(redrawn.members).all()
    torch.testing.assert_close(redrawn.members[:, [0, 2]], whole.members[:, [0, 2]])
    assert not torch.allclose(redrawn.members[0, 1], whole.members[0, 1], atol=0.1)


def test_members_that_always_diverge_are_named_with_their_case(problem: LinearGaussian) -> None:
    """Two of three members leave the bounds whatever is drawn: one sentence, with the date."""

    class Hopeless(ExactDenoiser):
        def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
            posterior = super().forward(x_t, t, **condition)
            posterior.mean[-2:] = torch.nan
            return posterior

    space = linear_space(problem)
    method = LatentDiffusion(
        problem.normaliser,
        problem.grid,
        3,
        space=space,
        denoiser=Hopeless(problem, space),
        guidance=GuidanceSettings(archive=10),
        sampler=SamplerSettings(steps=4),
    )
    method.fit(problem.archive(problem.draw(10, 5)))
    batch = replace(problem.batch(1), observations=())
    with pytest.raises(
        UserError,
        match=r"latent_diffusion, case 17 \(1994-08-23\): 2 of 3 members diverged in each of 4 "
        r"draws; raise .*steps or, if .*kind is not decg, lower .*below_sigma",
    ):
        method.analyse(batch, 3)


def test_refusals(problem: LinearGaussian) -> None:
    space = linear_space(problem)
    make = functools.partial(
        LatentDiffusion,
        problem.normaliser,
        problem.grid,
        3,
        space=space,
        denoiser=ExactDenoiser(problem, space),
        sampler=SamplerSettings(),
    )
    with pytest.raises(UserError, match="found 'diffpir'; expected one of decg, dps"):
        make(guidance=GuidanceSettings(kind="diffpir"))
    method = make(guidance=GuidanceSettings())
    with pytest.raises(UserError, match="call fit"):
        method.analyse(problem.batch(1), 2)
    method.fit(problem.archive(problem.draw(10, 5)))
    bare: Batch = replace(problem.batch(1), background=None)
    with pytest.raises(UserError, match="needs a background"):
        method.analyse(bare, 2)
