"""Diffusion of the fields themselves against a posterior known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from slams.assimilators.pixel_diffusion import PixelDiffusion
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.errors import UserError
from slams.fields import Background
from slams.nn.latent_space import IdentitySpace
from tests.assimilators.latent_gaussian import ExactDenoiser
from tests.assimilators.problems import LinearGaussian, linear_gaussian


@pytest.fixture(scope="module")
def problem() -> LinearGaussian:
    return linear_gaussian()


def assimilator(problem: LinearGaussian, days: int, steps: int, **settings) -> PixelDiffusion:
    """Make one with the exact denoiser; the fields' mean and sd are anything but 0 and 1."""
    space = IdentitySpace(torch.tensor([0.3, -0.2]), torch.tensor([0.8, 1.3]))
    made = PixelDiffusion(
        problem.normaliser,
        problem.grid,
        3,
        space=space,
        denoiser=ExactDenoiser(problem, space),
        guidance=GuidanceSettings(archive=days, localisation=math.inf),
        sampler=SamplerSettings(steps=steps),
        **settings,
    )
    made.fit(problem.archive(problem.draw(days, 5)))
    return made


def test_ensemble_is_the_posterior(problem: LinearGaussian) -> None:
    """Monte-Carlo error of the mean is 1 / sqrt(300) = 0.06; the archive has 2000 days."""
    batch = problem.batch(1)
    members = assimilator(problem, 2000, 20).analyse(batch, 300).members
    mean, covariance = problem.posterior(batch)
    sample = problem.normalised(members, batch).double().flatten(1)
    sd = covariance.diagonal().sqrt()
    error = ((sample.mean(dim=0) - mean.flatten()) / sd).square().mean().sqrt()
    assert float(error) < 0.15
    assert 0.94 < float((sample.std(dim=0) / sd).mean()) < 1.07


def test_the_noise_scale_is_that_of_sampler_and_guidance(problem: LinearGaussian) -> None:
    made = assimilator(problem, 10, 4, noise_scale=3.0)
    assert made.sampler.sigma_max == 3 * SamplerSettings().sigma_max
    assert made.sampler.sigma_min == 3 * SamplerSettings().sigma_min
    assert made.guidance.below_sigma == 3 * GuidanceSettings().below_sigma


def test_a_background_with_missing_values_is_refused(problem: LinearGaussian) -> None:
    """Nothing may stand for what is missing: neither zero nor the climatology."""
    batch = problem.batch(1)
    known = torch.ones_like(batch.mask)
    known[0, 0, 1, 2, 3] = False
    background = Background(batch.background.mean, batch.background.variance, known=known)
    with pytest.raises(UserError, match="channel 1 has 1 missing values"):
        assimilator(problem, 10, 4).analyse(replace(batch, background=background), 2)


def test_the_space_only_standardises() -> None:
    space = IdentitySpace(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 0.5]))
    fields = torch.randn(3, 2, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    latents = space.encode(fields)
    torch.testing.assert_close(latents[:, :, 0], (fields[:, :, 0] - 1) / 2)
    torch.testing.assert_close(latents[:, :, 1], (fields[:, :, 1] + 2) / 0.5)
    torch.testing.assert_close(space.decode(latents), fields)
