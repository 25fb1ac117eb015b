"""Observations encoded: exact where latent points are independent, and no pull where unseen."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slams.assimilators.latent_diffusion import LatentDiffusion
from slams.assimilators.latent_likelihood import spread
from slams.config.checks import check
from slams.config.schema import AssimilationConfig, Config
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.errors import UserError
from slams.observations.degradations import DegradedOperator
from slams.observations.stacked import stack_observations
from tests.assimilators.latent_gaussian import FACTOR, ExactDenoiser, linear_space
from tests.assimilators.problems import LinearGaussian, linear_gaussian, masked


@pytest.fixture(scope="module")
def problem() -> LinearGaussian:
    """Patches that know nothing of one another, both channels observed at every point.

    Both with the same error in standard deviations of their fields: in the turned patches its
    covariance is then diagonal, which is all that guidance other than `decg` takes of it.
    """
    plain = linear_gaussian()
    rows, columns = plain.grid.shape
    row = torch.arange(rows)[:, None] // FACTOR
    patch = (row * columns + torch.arange(columns)[None, :] // FACTOR).flatten().repeat(2)
    channels = plain.normaliser.channels
    return replace(
        plain,
        covariance=plain.covariance * (patch[:, None] == patch[None, :]),
        error_variance=(1.0, 400 / 9),
        operators=tuple(DegradedOperator(plain.grid, channels, c.name, 1, 1) for c in channels),
    )


def assimilator(problem: LinearGaussian, kind: str, days: int, steps: int) -> LatentDiffusion:
    space = linear_space(problem)
    made = LatentDiffusion(
        problem.normaliser,
        problem.grid,
        3,
        space=space,
        denoiser=ExactDenoiser(problem, space),
        guidance=GuidanceSettings(
            kind=kind,
            likelihood="latent",
            archive=days,
            localisation=math.inf,
            iterations=8,
            below_sigma=math.inf,
        ),
        sampler=SamplerSettings(steps=steps),
    )
    made.fit(problem.archive(problem.draw(days, 5)))
    return made


@pytest.mark.parametrize("kind", ["decg", "mmps"])
def test_ensemble_is_the_posterior_where_points_are_independent(problem, kind: str) -> None:
    """Only half of the globe is observed; the other half has to keep the prior."""
    batch = problem.batch(1)
    east = torch.arange(problem.grid.shape[1]) < problem.grid.shape[1] // 2
    mask = east.expand(*problem.grid.shape).flatten()
    for which, observations in enumerate(batch.observations):
        batch = masked(batch, which, mask.expand_as(observations.mask))
    members = assimilator(problem, kind, 1000, 16).analyse(batch, 300).members
    mean, covariance = problem.posterior(batch)
    sample = problem.normalised(members, batch).double().flatten(1)
    sd = covariance.diagonal().sqrt()
    error = (sample.mean(dim=0) - mean.flatten()) / sd
    ratio = sample.std(dim=0) / sd
    seen = mask.repeat(2)
    for there in (seen, ~seen):
        assert float(error[there].square().mean().sqrt()) < 0.15
        assert float(ratio[there].mean()) == pytest.approx(1.0, abs=0.07)
    # The test has teeth: where it is observed, the prior is far from the posterior.
    prior = (batch.background.mean[0].double() - mean).flatten() / sd
    assert float(prior[seen].square().mean().sqrt()) > 0.7


@pytest.mark.parametrize("kind", ["sda", "dps", "pgdm"])
def test_every_kind_of_guidance_takes_it(problem, kind: str) -> None:
    """These are not calibrated; the analysis must still come nearer to the truth."""
    batch = problem.batch(1)
    members = assimilator(problem, kind, 100, 12).analyse(batch, 20).members
    state = problem.normalised(members, batch).mean(dim=0)
    error, prior = (
        float((x - batch.fields[0]).square().mean()) for x in (state, batch.background.mean[0])
    )
    assert error < 0.9 * prior


def test_spreading_gives_back_what_was_seen_and_nothing_else() -> None:
    """Footprints come back as they are; what no footprint covers is missing, not zero."""
    problem = linear_gaussian()
    batch = problem.batch(1)
    active = torch.zeros_like(batch.observations[1].mask)
    active[..., :5] = True
    batch = masked(batch, 1, active)
    batch = replace(batch, observations=batch.observations[1:])
    stacked = stack_observations(batch, 0)
    departures = torch.arange(5.0)[None] + 1
    fields, mask = spread(stacked, departures, problem.shape)
    assert int(mask.sum()) == 5 * 4
    assert not mask[:, :, 0].any()
    torch.testing.assert_close(stacked.apply(fields), departures)
    assert float(fields[~mask].abs().max()) == 0.0


def test_masked_values_and_the_truth_are_not_read(problem) -> None:
    batch, made = problem.batch(1), assimilator(problem, "decg", 60, 4)
    mask = torch.rand(batch.observations[0].mask.shape) < 0.5
    nan = masked(batch, 0, mask)
    blind = replace(nan, fields=torch.full_like(nan.fields, torch.nan))
    results: list[Tensor] = [made.analyse(b, 3).members for b in (nan, blind)]
    assert torch.equal(*results)
    assert torch.isfinite(results[0]).all()
    assert not torch.allclose(results[0], made.analyse(batch, 3).members)


def test_an_unknown_space_is_refused() -> None:
    guidance = GuidanceSettings(likelihood="pixel")
    with pytest.raises(UserError, match=r"guidance\.likelihood.*'pixel'.*decoder"):
        check(Config(assimilation=AssimilationConfig(guidance=guidance)))
