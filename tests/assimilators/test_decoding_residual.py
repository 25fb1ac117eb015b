"""Residuals of the decoder against a posterior in closed form, and what they must not depend on.

Half of the components of each patch are encoded. The covariance of the problem has no terms
between what is encoded and what is not, so that `x = dec(z) + r` with independent `z` and `r`, and
the posterior of `x` is that of the whole Gaussian.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.latent_3dvar import Latent3DVar
from slams.assimilators.latent_diffusion import LatentDiffusion
from slams.assimilators.pixel_diffusion import PixelDiffusion
from slams.diffusion.settings import GuidanceSettings, ResidualSettings, SamplerSettings
from slams.errors import UserError
from slams.fields import Batch
from slams.linalg.settings import LocalSettings
from slams.nn.latent_space import IdentitySpace, LatentSpace
from tests.assimilators.latent_gaussian import ExactDenoiser, linear_space
from tests.assimilators.problems import LinearGaussian, linear_gaussian, masked
from tests.assimilators.test_censored import one_silent, posterior

KEPT = 4
DAYS = 1500
SETTINGS = ResidualSettings(sample=True, localisation=math.inf, archive=DAYS)


@pytest.fixture(scope="module")
def space() -> LatentSpace:
    return linear_space(linear_gaussian(), KEPT)


def decoded(space: LatentSpace, fields: Tensor) -> Tensor:
    """Project `(N, T, C, H, W)` fields onto what the decoder can represent."""
    nothing = space.decode(space.encode(torch.zeros_like(fields[:1])))
    return space.decode(space.encode(fields)) - nothing


@pytest.fixture(scope="module")
def problem(space: LatentSpace) -> LinearGaussian:
    """The problem without covariances between decoded fields and residuals."""
    whole = linear_gaussian()
    size = whole.covariance.shape[0]
    unit = torch.eye(size, dtype=torch.float64).reshape(size, *whole.shape)
    onto = decoded(space, unit).flatten(1)
    rest = torch.eye(size, dtype=torch.float64) - onto
    parts = (side @ whole.covariance @ side.T for side in (onto, rest))
    return replace(whole, covariance=sum(parts))


@pytest.fixture(scope="module")
def archive(problem: LinearGaussian, space: LatentSpace) -> Archive:
    """Days whose residuals have the covariance of the problem, whatever their backgrounds."""
    past = problem.archive(problem.draw_exact(DAYS, 5))
    background = decoded(space, past.background)
    return replace(past, fields=past.fields - past.background + background, background=background)


@pytest.fixture(scope="module")
def batch(problem: LinearGaussian, space: LatentSpace) -> Batch:
    """A case with observations in the northern hemisphere alone."""
    found = with_decoded_background(problem.batch(1), space)
    for which, one in enumerate(found.observations):
        north = (one.operator.latitude > 0).expand(one.mask.shape)
        found = masked(found, which, north)
    return found


def with_decoded_background(batch: Batch, space: LatentSpace) -> Batch:
    mean = decoded(space, batch.background.mean)
    return replace(batch, background=replace(batch.background, mean=mean))


def diffusion(
    problem: LinearGaussian,
    space: LatentSpace,
    archive: Archive,
    residual: ResidualSettings | None = SETTINGS,
    steps: int = 16,
    **settings,
) -> LatentDiffusion:
    method = LatentDiffusion(
        problem.normaliser,
        problem.grid,
        3,
        space=space,
        denoiser=ExactDenoiser(problem, space),
        guidance=GuidanceSettings(archive=DAYS, localisation=math.inf),
        sampler=SamplerSettings(steps=steps),
        residual=residual,
        **settings,
    )
    method.fit(archive)
    return method


@pytest.fixture(scope="module")
def members(problem, space, archive, batch) -> dict[bool, Tensor]:
    """Members `(M, T, C, H, W)` float64 normalised, with residuals and without."""
    found = {}
    for sampled in (True, False):
        method = diffusion(problem, space, archive, SETTINGS if sampled else None)
        found[sampled] = problem.normalised(method.analyse(batch, 600).members, batch).double()
    return found


def test_members_are_the_posterior_of_decoded_fields_and_residual(
    problem, space, batch, members
) -> None:
    mean, covariance = problem.posterior(batch)
    sd = covariance.diagonal().sqrt().reshape(mean.shape)
    ensemble = members[True]
    assert float(((ensemble.mean(dim=0) - mean) / sd).square().mean().sqrt()) < 0.06
    narrowed = sd / problem.variance.sqrt()
    observed, unobserved = narrowed < 0.8, narrowed > 0.9
    for some in (observed, unobserved):
        assert int(some.sum()) > 50
        ratio = (ensemble.std(dim=0) / sd)[some]
        assert float(ratio.square().mean().sqrt()) == pytest.approx(1, abs=0.02)
    # Of the residual itself too: its mean, and its spread along what the observations narrowed.
    residual = ensemble - decoded(space, ensemble)
    expected = mean - decoded(space, mean[None])[0]
    error = (residual.mean(dim=0) - expected).square().mean().sqrt()
    assert float(error) < 0.1 * float(expected.square().mean().sqrt())
    whiten = torch.linalg.inv(torch.linalg.cholesky(problem.covariance))
    left, turn = torch.linalg.eigh(whiten @ covariance @ whiten.T)
    narrow = (ensemble.flatten(1) @ whiten.T @ turn[:, :10]).std(dim=0)
    assert float((narrow / left[:10].sqrt()).mean()) == pytest.approx(1, abs=0.06)


def test_what_decoding_loses_of_the_background_is_given_back(problem, space) -> None:
    """The truth has the background's whole residual: members are the posterior about all of it."""
    past = problem.archive(problem.draw_exact(DAYS, 5))
    batch = problem.batch(1)
    mean, covariance = problem.posterior(batch)
    sd = covariance.diagonal().sqrt().reshape(mean.shape)
    found = {}
    for given in (True, False):
        settings = replace(SETTINGS, of_background=given)
        method = diffusion(problem, space, past, settings)
        members = problem.normalised(method.analyse(batch, 600).members, batch).double()
        found[given] = float(((members.mean(dim=0) - mean) / sd).square().mean().sqrt())
        if given:
            share, informed = method._fits.lost.share, method
            ratio = (members.std(dim=0) / sd).square().mean().sqrt()
            assert float(ratio) == pytest.approx(1, abs=0.03)
    torch.testing.assert_close(share, torch.ones(2), rtol=0, atol=0.03)
    assert found[True] < 0.08
    assert found[False] > 0.3
    # A climatology, which is not passed to the denoiser either, gives nothing back.
    blind = replace(batch, background=replace(batch.background, kind="climatology"))
    plain, other = (m.analyse(blind, 3).members for m in (method, informed))
    torch.testing.assert_close(other, plain)


@pytest.mark.parametrize("kept", [0.4, 0.0])
def test_the_share_of_the_background_is_that_of_the_archive(
    problem, space, batch, kept: float
) -> None:
    past = problem.archive(problem.draw_exact(DAYS, 5))
    rest = past.background - decoded(space, past.background)
    fields = past.fields - (1 - kept) * rest
    method = diffusion(
        problem, space, replace(past, fields=fields), replace(SETTINGS, of_background=True), 2
    )
    method.analyse(replace(batch, observations=()), 2)
    torch.testing.assert_close(method._fits.lost.share, torch.full((2,), kept), rtol=0, atol=0.03)


def test_decoded_members_alone_are_not_the_posterior(problem, batch, members) -> None:
    mean, covariance = problem.posterior(batch)
    sd = covariance.diagonal().sqrt().reshape(mean.shape)
    alone = members[False]
    assert float((alone.std(dim=0) / sd).square().mean()) < 0.7
    assert float(((alone.mean(dim=0) - mean) / sd).square().mean().sqrt()) > 0.15
    # What is decoded is the same in both.
    torch.testing.assert_close(members[True].mean(dim=0)[:0], alone.mean(dim=0)[:0])


def test_without_observations_a_draw_of_the_archive_is_added(
    problem, space, archive, batch
) -> None:
    nothing = replace(batch, observations=())
    both = [
        problem.normalised(
            diffusion(problem, space, archive, one).analyse(nothing, 600).members, batch
        ).double()
        for one in (SETTINGS, None)
    ]
    drawn = both[0] - both[1]
    errors = (archive.fields - decoded(space, archive.fields)).double()
    errors = errors - errors.mean(dim=0)
    away = torch.cdist(drawn.flatten(1), errors.flatten(1))
    # The mean over the members is removed from all of them: 600 draws have little of one.
    assert float(away.amin(dim=1).max()) < 0.2 * float(errors.flatten(1).norm(dim=1).mean())
    assert len(away.argmin(dim=1).unique()) == 600
    # Spread and residual together have the variance of the truth.
    ratio = both[0].var(dim=0) / problem.variance
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)
    assert float((both[1].var(dim=0) / problem.variance).mean()) < 0.8


def test_a_silent_report_leaves_the_truncated_posterior(problem, space, archive) -> None:
    batch = with_decoded_background(one_silent(problem), space)
    mean, covariance = posterior(problem, batch)
    method = diffusion(problem, space, archive)
    found = problem.normalised(method.analyse(batch, 100).members, batch).double()
    sd = covariance.diagonal().sqrt().reshape(problem.shape)
    assert float(((found.mean(dim=0) - mean) / sd).square().mean().sqrt()) < 0.08
    ratio = (found.std(dim=0) / sd).square().mean().sqrt()
    assert float(ratio) == pytest.approx(1, abs=0.04)
    # Taken for a number, the silent report gives another analysis.
    number = replace(batch.observations[0], bound=-math.inf)
    other = replace(batch, observations=(number, *batch.observations[1:]))
    wrong, _ = problem.posterior(other)
    assert float(((wrong - mean) / sd).abs().max()) > 0.3


@pytest.mark.parametrize("whole", [False, True], ids=["decoded", "whole background"])
def test_latent_3dvar_has_the_posterior_of_one_observation(
    problem, space, archive, whole: bool
) -> None:
    """Of several it neglects how their decoding errors are related."""
    batch, past = problem.batch(1), problem.archive(problem.draw_exact(DAYS, 5))
    if not whole:
        batch, past = with_decoded_background(batch, space), archive
    residual = replace(SETTINGS, of_background=whole)
    keep = torch.zeros_like(batch.observations[0].mask)
    keep[..., 3] = True
    batch = masked(batch, 0, keep)
    batch = masked(batch, 1, torch.zeros_like(batch.observations[1].mask))
    settings = {"localisation": math.inf, "archive_size": DAYS, "space": space}
    method = Latent3DVar(problem.normaliser, problem.grid, 3, residual=residual, **settings)
    method.fit(past)
    found = problem.normalised(method.analyse(batch, 600).members, batch).double()
    mean, covariance = problem.posterior(batch)
    sd = covariance.diagonal().sqrt().reshape(problem.shape)
    assert float(((found.mean(dim=0) - mean) / sd).abs().max()) < 0.03
    ratio = (found.std(dim=0) / sd).square().mean().sqrt()
    assert float(ratio) == pytest.approx(1, abs=0.02)


def test_errors_are_as_large_as_on_validation_days(problem, space, archive, batch) -> None:
    """Of each channel for itself, compared with archive days of the season."""
    background = archive.background[:60]
    size = torch.tensor([2.0, 3.0])[:, None, None]
    fields = archive.fields - decoded(space, archive.fields)
    unseen = Archive(background + size * fields[:60], background, archive.time[:60])
    nothing = replace(batch, observations=())
    methods = [
        diffusion(problem, space, archive, steps=2, unseen=lambda: unseen),
        diffusion(problem, space, archive, steps=2),
    ]
    for method in methods:  # no scale of the denoising errors
        method.uses_errors = False
    large, plain = (problem.normalised(m.analyse(nothing, 40).members, batch) for m in methods)
    alone = diffusion(problem, space, archive, None, steps=2).analyse(nothing, 40).members
    alone = problem.normalised(alone, batch)
    ratio = (large - alone).std(dim=(0, 1, 3, 4)) / (plain - alone).std(dim=(0, 1, 3, 4))
    torch.testing.assert_close(ratio, size.flatten(), rtol=0.15, atol=0)


QUICK = replace(SETTINGS, archive=200)


def quick(problem, space, archive, **settings) -> LatentDiffusion:
    return diffusion(problem, space, archive, QUICK, steps=3, **settings)


@pytest.mark.parametrize("silent", [False, True])
def test_members_are_the_same_when_several_processes_share_them(
    problem, space, archive, silent: bool
) -> None:
    batch = with_decoded_background(one_silent(problem) if silent else problem.batch(1), space)
    method = quick(problem, space, archive)
    whole = method.analyse(batch, 5).members
    parts = [method.analyse(batch, 5, only=only).members for only in (range(2), range(2, 5))]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("silent", [False, True])
def test_domains_that_have_all_observations_change_nothing(
    problem, space, archive, batch, silent: bool
) -> None:
    case = with_decoded_background(one_silent(problem), space) if silent else batch
    dense = quick(problem, space, archive).analyse(case, 3).members
    local = LocalSettings(above=0, observations=1000, spacing=6000.0)
    method = quick(problem, space, archive, local=local)
    torch.testing.assert_close(method.analyse(case, 3).members, dense, rtol=1e-3, atol=0.05)
    assert method._residual.gains.is_local


def test_a_case_does_not_depend_on_its_batch(problem, space, archive) -> None:
    method, batch = quick(problem, space, archive), problem.batch(3)
    whole = method.analyse(batch, 3).members
    alone = method.analyse(batch.select(slice(2, 3)), 3).members
    assert torch.equal(whole[2:], alone)
    blind = replace(batch, fields=torch.full_like(batch.fields, torch.nan))
    assert torch.equal(method.analyse(blind, 3).members, whole)


def test_missing_values_of_the_archive_have_no_error(problem, space, archive, batch) -> None:
    known = torch.ones(archive.fields.shape, dtype=torch.bool)
    known[:, :, 0] = False
    method = quick(problem, space, replace(archive, known=known))
    alone = diffusion(problem, space, archive, None, steps=3)
    nothing = replace(batch, observations=())
    with_residual, without = (m.analyse(nothing, 3).members for m in (method, alone))
    torch.testing.assert_close(with_residual[:, :, :, 0], without[:, :, :, 0])
    assert not torch.allclose(with_residual[:, :, :, 1], without[:, :, :, 1], atol=1.0)


def test_inflation_and_centring_are_those_of_the_sampler(problem, space, archive, batch) -> None:
    nothing = replace(batch, observations=())

    def residuals(**sampler) -> Tensor:
        found = []
        for settings in (QUICK, None):
            method = diffusion(problem, space, archive, settings, steps=3)
            method.sampler = replace(method.sampler, **sampler)
            found.append(problem.normalised(method.analyse(nothing, 4).members, batch))
        return found[0] - found[1]

    def deviations(residuals: Tensor) -> Tensor:
        return residuals - residuals.mean(dim=0)

    plain, narrow, free = residuals(), residuals(inflation=0.5), residuals(centred=False)
    torch.testing.assert_close(deviations(narrow), 0.5 * deviations(plain), atol=1e-4, rtol=0)
    torch.testing.assert_close(deviations(free), deviations(plain), atol=1e-4, rtol=0)
    # The mean of the archive's errors is that of centred draws, whatever is drawn.
    torch.testing.assert_close(narrow.mean(dim=0), plain.mean(dim=0), atol=1e-4, rtol=0)
    assert float((free - plain).mean(dim=0).abs().max()) > 0.1


def test_calibrated_members_are_refused(problem, space) -> None:
    with pytest.raises(UserError, match=r"guidance.calibrated: found true beside .*residual"):
        LatentDiffusion(
            problem.normaliser,
            problem.grid,
            3,
            space=space,
            denoiser=ExactDenoiser(problem, space),
            guidance=GuidanceSettings(calibrated=True),
            sampler=SamplerSettings(),
            residual=SETTINGS,
        )


def test_encoded_observations_know_nothing_of_the_background(problem, space) -> None:
    with pytest.raises(UserError, match=r"residual.of_background: found true beside .*latent"):
        LatentDiffusion(
            problem.normaliser,
            problem.grid,
            3,
            space=space,
            denoiser=ExactDenoiser(problem, space),
            guidance=GuidanceSettings(likelihood="latent"),
            sampler=SamplerSettings(),
            residual=replace(SETTINGS, of_background=True),
        )


def test_fields_that_are_not_decoded_have_no_residual(problem) -> None:
    space = IdentitySpace(torch.zeros(2), torch.ones(2))
    method = PixelDiffusion(
        problem.normaliser,
        problem.grid,
        3,
        space=space,
        denoiser=ExactDenoiser(problem, space),
        guidance=GuidanceSettings(),
        sampler=SamplerSettings(),
        residual=SETTINGS,
    )
    assert method._residual is None
