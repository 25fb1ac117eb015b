"""Condition, observation, both, neither: each against the posterior it should give."""

from __future__ import annotations

import math
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
from tests.assimilators.latent_gaussian import FACTOR, ExactDenoiser, linear_space
from tests.assimilators.problems import LinearGaussian, linear_gaussian, masked

DAYS = 800


class Informed(ExactDenoiser):
    """Knows that x_b = x + e with B for both: given x_b, the prior is N(x_b / 2, B / 2)."""

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        condition: Tensor | None = None,
        known: Tensor | None = None,
        season: Tensor | None = None,
    ) -> DiracPosterior:
        if condition is None:
            return super().forward(x_t, t, season=season)
        values = self.values
        self.values = values / 2
        half = (condition + self.climatology.reshape(condition.shape[1:]).to(condition)) / 2
        posterior = super().forward(x_t, t, condition=half, season=season)
        self.values = values
        return posterior


@pytest.fixture(scope="module")
def problem() -> LinearGaussian:
    """Keep correlations inside the patches of the latent space: a gain by point is exact."""
    problem = linear_gaussian()
    rows, columns = problem.grid.shape
    patch = (torch.arange(rows)[:, None] // FACTOR) * columns + torch.arange(columns) // FACTOR
    patch = patch.flatten().repeat(problem.shape[1])
    return replace(problem, covariance=problem.covariance * (patch[:, None] == patch))


def analysed(problem: LinearGaussian, use: str, batch: Batch, members: int) -> Tensor:
    space = linear_space(problem)
    truth, error = problem.draw(DAYS, 5).float(), problem.draw(DAYS, 6).float()
    method = LatentDiffusion(
        problem.normaliser,
        problem.grid,
        3,
        space=space,
        denoiser=Informed(problem, space),
        guidance=GuidanceSettings(archive=DAYS, localisation=math.inf, background=use),
        sampler=SamplerSettings(centred=False),
    )
    time = problem.archive(truth).time
    method.fit(Archive(fields=truth, background=truth + error, time=time))
    return problem.normalised(method.analyse(batch, members).members, batch).double()


@pytest.mark.parametrize("use", ["condition", "observation", "both", "neither"])
def test_posterior_of_each_use(problem: LinearGaussian, use: str) -> None:
    """The Monte-Carlo error of the mean is 0.08, the archive's about sqrt(8 / 800) a patch."""
    batch = problem.batch(1, mean=1.4)
    # Few observations, whose gains an archive of 800 days determines well.
    batch = masked(batch, 0, torch.arange(batch.observations[0].mask.shape[-1]) < 8)
    batch = masked(batch, 1, torch.arange(batch.observations[1].mask.shape[-1]) % 8 == 0)
    background = batch.background.mean
    known = 0.0 if use == "neither" else 0.5
    prior = replace(problem, covariance=problem.covariance * (1.0 if use == "neither" else 0.5))
    told = replace(batch, background=Background(known * background, batch.background.variance))
    mean, covariance = prior.posterior(told)
    members = analysed(problem, use, batch, 150).flatten(1)
    sd = covariance.diagonal().sqrt()
    error = ((members.mean(dim=0) - mean.flatten()) / sd).square().mean().sqrt()
    assert float(error) < 0.16
    assert 0.94 < float((members.std(dim=0) / sd).mean()) < 1.06
    # The others are far away.
    assert float(((background.flatten() / 2) / sd).square().mean().sqrt()) > 0.6


def test_each_member_is_conditioned_on_its_own_background(problem: LinearGaussian) -> None:
    """Two groups with backgrounds of their own: each has the posterior of its background."""
    batch = replace(problem.batch(1, mean=1.4), observations=())
    first, second = batch.background.mean, problem.batch(1, seed=4, mean=1.4).background.mean
    own = torch.cat([first.expand(80, -1, -1, -1, -1), second.expand(80, -1, -1, -1, -1)])
    told = replace(batch, background=replace(batch.background, members=own.unsqueeze(0)))
    members = analysed(problem, "condition", told, 160).flatten(1)
    sd = (problem.covariance.diagonal() / 2).sqrt()
    for group, background in ((members[:80], first), (members[80:], second)):
        error = (group.mean(dim=0).flatten() - background.flatten() / 2) / sd
        assert float(error.square().mean().sqrt()) < 0.2  # 0.11 is chance
    shared = replace(batch.background, members=first.expand(20, -1, -1, -1, -1).unsqueeze(0))
    alike = [
        analysed(problem, "condition", replace(batch, background=b), 20)
        for b in (batch.background, shared)
    ]
    torch.testing.assert_close(*alike)


def test_an_unknown_use_is_refused(problem: LinearGaussian) -> None:
    space = linear_space(problem)
    with pytest.raises(UserError, match="found 'prior', expected one of condition, observation"):
        LatentDiffusion(
            problem.normaliser,
            problem.grid,
            3,
            space=space,
            denoiser=Informed(problem, space),
            guidance=GuidanceSettings(background="prior"),
            sampler=SamplerSettings(),
        )
