"""Guidance by reports that read their bound, against posteriors known in closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slams.benchmarks.gaussian import GaussianProblem, dense_problem
from slams.benchmarks.guided import noise_of
from slams.diffusion.backend import time_of_sigma
from slams.diffusion.guidance.decg import DECGDenoiser
from slams.diffusion.guidance.dps import DPSDenoiser
from slams.diffusion.guidance.mmps import mmps_denoiser
from slams.diffusion.guidance.pgdm import PGDMDenoiser
from slams.diffusion.guidance.sda import SDADenoiser
from slams.diffusion.posterior.errors import ErrorCovariance
from slams.diffusion.sampling import noise_levels, sample
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.linalg.censoring import linearised_observations, truncated_normal
from slams.linalg.gain import Gain
from tests.diffusion.problems import guidance_problem

SILENT = torch.arange(16) == 3


def problem() -> GaussianProblem:
    """Observe one component no better than that it lies below what was expected of it."""
    known = dense_problem(0.5)
    y = known.y.clone()
    y[3] = (known.operator @ known.mean)[3] - 0.4
    return replace(known, y=y)


def truncated(
    operator: Tensor, variance: Tensor, y: Tensor, mean: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor]:
    """Conditions N(mean, covariance) on the reports, then on u_3 <= y_3, in closed form."""
    seen = operator[~SILENT]
    gain = torch.linalg.solve(
        seen @ covariance @ seen.T + torch.diag(variance[~SILENT]), seen @ covariance
    ).T
    mean = mean + (y[~SILENT] - mean @ seen.T) @ gain.T
    covariance = covariance - gain @ seen @ covariance
    row = operator[3]
    s = row @ covariance @ row + variance[3]
    to_state = covariance @ row / s
    first, second = truncated_normal(mean @ row, s.expand(mean.shape[:-1]), y[3])
    mean = mean + (first - mean @ row)[..., None] * to_state
    narrowed = (s - second)[..., None, None] * torch.outer(to_state, to_state)
    return mean, covariance - narrowed


def decg(known: GaussianProblem, sampler: SamplerSettings) -> DECGDenoiser:
    levels = noise_levels(sampler).double()
    count = len(known.y)
    covariance = ErrorCovariance(
        levels,
        [known.errors(sigma) for sigma in levels],
        torch.arange(count),
        Gain.unlocalised(24, SILENT),
    )
    return DECGDenoiser(guidance_problem(known, covariance=covariance, silent=SILENT))


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_decg_is_the_posterior_denoiser(sigma: float) -> None:
    known = problem()
    draw = torch.Generator().manual_seed(5)
    x_t = sigma * torch.randn(6, *known.shape, generator=draw, dtype=torch.float64)
    level = torch.tensor(sigma, dtype=torch.float64)
    time = time_of_sigma(level, known.denoiser.schedule)
    guided = decg(known, SamplerSettings(steps=2, sigma_min=sigma, sigma_max=sigma * 1.001))
    unit = torch.eye(48, dtype=torch.float64)
    posterior = torch.linalg.inv(torch.linalg.inv(known.covariance) + unit / sigma**2)
    denoised = known.denoiser(x_t, time).mean.flatten(1)
    expected, _ = truncated(known.operator, known.variance, known.y, denoised, posterior)
    found = guided(x_t, time).mean.flatten(1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_samples_have_mean_and_spread_of_the_truncated_posterior() -> None:
    """In every band that the uncensored problem is held to: 0.05 sd, 5 %."""
    known, sampler = problem(), SamplerSettings()
    members = 2000
    samples = sample(
        decg(known, sampler), sampler, noise_of(known.shape, members), members
    ).members.flatten(1)
    mean, covariance = truncated(
        known.operator, known.variance, known.y, known.mean, known.covariance
    )
    sd = covariance.diagonal().sqrt()
    assert float(((samples.mean(dim=0) - mean) / sd).square().mean().sqrt()) < 0.05
    assert float((samples.std(dim=0) / sd).mean()) == pytest.approx(1, abs=0.05)
    # The component that was censored, by itself, against taking its report for a number.
    place = int(known.operator[3].argmax())
    number = replace(known, y=known.y).posterior[0][place]
    assert abs(float((samples.mean(dim=0) - mean)[place] / sd[place])) < 0.08
    assert abs(float((number - mean[place]) / sd[place])) > 0.2
    assert float(samples[:, place].std() / sd[place]) == pytest.approx(1, abs=0.05)


def setting(sigma: float = 1.0) -> tuple[GaussianProblem, Tensor, Tensor, Tensor, Tensor]:
    """Return a problem, states, their time, `dD/dx_t` and what is observed of the denoised."""
    known = problem()
    x_t = sigma * torch.randn(
        4, *known.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    time = time_of_sigma(torch.tensor(sigma, dtype=torch.float64), known.denoiser.schedule)
    unit = torch.eye(48, dtype=torch.float64)
    jacobian = known.covariance @ torch.linalg.inv(known.covariance + sigma**2 * unit)
    return known, x_t, time, jacobian, known.observe(known.denoiser(x_t, time).mean)


def test_sda_follows_the_gradient_of_the_censored_likelihood() -> None:
    known, x_t, time, _, _ = setting()
    scale = torch.linspace(0.5, 2, 16, dtype=torch.float64)
    settings = GuidanceSettings(gamma=0.3)
    guided = SDADenoiser(guidance_problem(known, settings, scale=scale, silent=SILENT))
    x = x_t.clone().requires_grad_()
    predicted = known.observe(known.denoiser(x, time).mean)
    sd = (known.variance + 0.3 * scale**2).sqrt()
    a = (known.y - predicted) / sd
    log = torch.where(SILENT, torch.special.log_ndtr(a), -0.5 * a.square()).sum()
    expected = known.denoiser(x_t, time).mean + torch.autograd.grad(log, x)[0]
    torch.testing.assert_close(guided(x_t, time).mean, expected)


@pytest.mark.parametrize("kind", ["mmps", "pgdm"])
def test_solvers_linearise_the_likelihood_about_the_denoised(kind: str) -> None:
    known, x_t, time, jacobian, predicted = setting()
    seen = known.operator
    d, r = linearised_observations(known.y - predicted, known.variance, SILENT)
    if kind == "mmps":
        settings = GuidanceSettings(iterations=16)
        guided = mmps_denoiser(guidance_problem(known, settings, silent=SILENT))
        spread = seen @ jacobian @ seen.T
    else:
        settings = GuidanceSettings(iterations=40)
        guided = PGDMDenoiser(guidance_problem(known, settings, silent=SILENT))
        spread = 0.5 * seen @ seen.T
    weights = torch.linalg.solve(spread + torch.diag_embed(r), d.unsqueeze(-1)).squeeze(-1)
    expected = known.denoiser(x_t, time).mean.flatten(1) + weights @ seen @ jacobian
    torch.testing.assert_close(guided(x_t, time).mean.flatten(1), expected, rtol=1e-4, atol=1e-5)


def test_dps_finds_no_misfit_below_the_bound() -> None:
    known, x_t, time, _, predicted = setting()
    y = torch.where(SILENT, predicted.amax(dim=0) + 1, predicted[0])
    asked = guidance_problem(known, y=y, scale=torch.ones(16), silent=SILENT)
    guided = DPSDenoiser(asked)
    plain = known.denoiser(x_t, time).mean
    torch.testing.assert_close(guided(x_t, time).mean[0], plain[0], rtol=0, atol=1e-9)
    above = torch.where(SILENT, predicted[0] - 1, predicted[0])
    guided = DPSDenoiser(replace(asked, y=above))
    assert float((guided(x_t, time).mean[0] - plain[0]).abs().max()) > 1e-3
