"""Each guidance against its formula, and against the posterior's denoiser where it is exact."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slams.benchmarks.gaussian import (
    UNITS,
    GaussianProblem,
    dense_problem,
    in_units,
    linear_decoder_problem,
)
from slams.benchmarks.guided import guide
from slams.diffusion.backend import Denoiser, time_of_sigma
from slams.diffusion.guidance.dps import DPSDenoiser
from slams.diffusion.guidance.mmps import mmps_denoiser
from slams.diffusion.guidance.pgdm import PGDMDenoiser
from slams.diffusion.guidance.sda import SDADenoiser
from slams.diffusion.posterior.errors import DenoisingErrors
from slams.diffusion.posterior.guided import guided_denoiser
from slams.diffusion.samplers.ancestral import AncestralSampler
from slams.diffusion.sampling import SamplerProblem, noise_levels
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.errors import UserError
from tests.diffusion.problems import guidance_problem

KINDS = ("decg", "mmps", "sda", "dps", "pgdm")
PROBLEMS = [
    make(error) for make in (dense_problem, linear_decoder_problem) for error in (0.1, 0.5)
]
NAMES = [f"{p.name} {float(p.variance[0]) ** 0.5:.1f}" for p in PROBLEMS]
SAMPLER = SamplerSettings(steps=8)


def state(problem: GaussianProblem, sigma: float, count: int = 5) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    noise = torch.randn(count, *problem.shape, generator=draw, dtype=torch.float64)
    time = time_of_sigma(torch.tensor(sigma, dtype=torch.float64), problem.denoiser.schedule)
    return sigma * noise, time


def posterior_mean(problem: GaussianProblem, x_t: Tensor, sigma: float) -> Tensor:
    """Return E[z | z_t, y] by adding the two sources of information: B^-1, 1 / sigma^2 and R'."""
    seen = problem.operator @ problem.decoder
    weight = seen.T / problem.total_variance
    inverse = torch.linalg.inv(problem.covariance)
    precision = inverse + torch.eye(len(inverse)) / sigma**2 + weight @ seen
    source = inverse @ problem.mean + weight @ problem.y + x_t.flatten(1) / sigma**2
    return torch.linalg.solve(precision, source.T).T.reshape(x_t.shape)


def by_formula(problem: GaussianProblem, x_t: Tensor, sigma: float, weights) -> Tensor:
    """Return D + sigma^2 J G^T w(d) with J = B (B + sigma^2)^-1 written out."""
    size = len(problem.covariance)
    seen = problem.operator @ problem.decoder
    jacobian = problem.covariance @ torch.linalg.inv(
        problem.covariance + sigma**2 * torch.eye(size, dtype=torch.float64)
    )
    mean = problem.mean + (x_t.flatten(1) - problem.mean) @ jacobian.T
    added = sigma**2 * weights(problem.y - mean @ seen.T) @ seen @ jacobian
    return (mean + added).reshape(x_t.shape)


@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
@pytest.mark.parametrize("kind", ["decg", "mmps"])
def test_exact_guidance_is_the_posterior_denoiser(problem: GaussianProblem, kind: str) -> None:
    denoiser = guide(problem, kind, SAMPLER)
    for sigma in noise_levels(SAMPLER).tolist():
        x_t, time = state(problem, sigma)
        expected = posterior_mean(problem, x_t, sigma)
        torch.testing.assert_close(denoiser(x_t, time).mean, expected, rtol=1e-4, atol=1e-5)
        # The test has teeth: the observations matter.
        assert (problem.denoiser(x_t, time).mean - expected).abs().max() > 1e-3


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("kind", KINDS)
def test_units_of_the_observations_do_not_matter(kind: str, sigma: float) -> None:
    """Three iterations of a solver: what is left of the residual must not depend on units."""
    problem = linear_decoder_problem(0.3)
    x_t, time = state(problem, sigma)
    found = [
        guide(same, kind, SAMPLER, iterations=3)(x_t, time).mean
        for same in (problem, in_units(problem, UNITS))
    ]
    torch.testing.assert_close(found[1], found[0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("silent", [False, True], ids=["gaussian", "censored"])
@pytest.mark.parametrize("linearisations", [1, 3])
def test_units_do_not_matter_to_any_mmps(linearisations: int, silent: bool) -> None:
    problem = dense_problem(0.3)
    x_t, time = state(problem, 1.0)
    at_bound = torch.arange(len(problem.y)) % 5 == 1 if silent else None

    def guided(same: GaussianProblem) -> Denoiser:
        # An exact observation among them, which has no error to be measured by.
        variance = same.variance * (torch.arange(len(same.y)) != 3)
        settings = GuidanceSettings(iterations=3, linearisations=linearisations)
        return mmps_denoiser(
            guidance_problem(same, settings, total_variance=variance, silent=at_bound)
        )

    # Exact observations keep the unit that they come in.
    units = (1.0, 0.3, 20.0, 1.0)
    found = [guided(same)(x_t, time).mean for same in (problem, in_units(problem, units))]
    assert found[0].isfinite().all()
    torch.testing.assert_close(found[1], found[0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
def test_sda_adds_gamma_sigma_squared_to_r(problem: GaussianProblem, sigma: float) -> None:
    scale = torch.linspace(0.5, 2, len(problem.y), dtype=torch.float64)
    denoiser = SDADenoiser(guidance_problem(problem, GuidanceSettings(gamma=0.3), scale=scale))
    x_t, time = state(problem, sigma)
    variance = problem.total_variance + 0.3 * scale**2 * sigma**2
    expected = by_formula(problem, x_t, sigma, lambda d: d / variance)
    torch.testing.assert_close(denoiser(x_t, time).mean, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
def test_pgdm_takes_the_state_to_be_white(problem: GaussianProblem, sigma: float) -> None:
    denoiser = PGDMDenoiser(guidance_problem(problem, GuidanceSettings(iterations=40)))
    x_t, time = state(problem, sigma)
    seen = problem.operator @ problem.decoder
    spread = sigma**2 / (1 + sigma**2) * seen @ seen.T + torch.diag(problem.total_variance)
    expected = by_formula(problem, x_t, sigma, lambda d: torch.linalg.solve(spread, d.T).T)
    torch.testing.assert_close(denoiser(x_t, time).mean, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_pgdm_is_exact_where_the_state_is_white(sigma: float) -> None:
    problem = dense_problem(0.5)
    white = replace(problem, covariance=torch.eye(48, dtype=torch.float64))
    x_t, time = state(white, sigma)
    found = guide(white, "pgdm", SAMPLER)(x_t, time).mean
    torch.testing.assert_close(found, posterior_mean(white, x_t, sigma), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_dps_steps_down_the_norm_of_each_sample(sigma: float) -> None:
    problem = dense_problem(0.5)
    scale = torch.linspace(0.5, 2, len(problem.y), dtype=torch.float64)
    denoiser = DPSDenoiser(guidance_problem(problem, GuidanceSettings(zeta=0.7), scale=scale))
    x_t, time = state(problem, sigma)

    def weights(d: Tensor) -> Tensor:
        norm = (d / scale).square().sum(dim=1, keepdim=True).sqrt()
        return 0.7 * (1 + sigma**2) / sigma**2 * d / scale**2 / norm

    expected = by_formula(problem, x_t, sigma, weights)
    torch.testing.assert_close(denoiser(x_t, time).mean, expected, rtol=1e-6, atol=1e-8)


def test_dps_with_an_ancestral_step_is_the_authors_rule() -> None:
    """Take one step in the variance-preserving process, by the paper, and compare."""
    problem = dense_problem(0.5)
    sigma_t, sigma_s, zeta = 2.0, 1.5, 0.8
    x_t, time = state(problem, sigma_t)
    step_to = time_of_sigma(torch.tensor(sigma_s, dtype=torch.float64), problem.denoiser.schedule)
    share = 1 - (sigma_s / sigma_t) ** 2
    ones = torch.ones_like(problem.y)
    guided = DPSDenoiser(guidance_problem(problem, GuidanceSettings(zeta=zeta), scale=ones))

    def stepped(denoiser: Denoiser) -> Tensor:
        asked = SamplerProblem(denoiser, SAMPLER, lambda step: torch.zeros_like(x_t))
        return AncestralSampler(asked).step(x_t, time, step_to)

    ours, plain = stepped(guided), stepped(problem.denoiser)
    alpha_t, alpha_s = (1 / math.sqrt(1 + s**2) for s in (sigma_t, sigma_s))
    preserving = (alpha_t * x_t).requires_grad_()
    misfit = problem.y - problem.observe(problem.denoiser(preserving / alpha_t, time).mean)
    (gradient,) = torch.autograd.grad(misfit.norm(dim=1).sum(), preserving)
    # The authors step along alpha_s times our state; alpha_s and alpha_t differ by one step.
    length = zeta * share * alpha_s / alpha_t
    authors = (alpha_s * plain - length * gradient) / alpha_s
    torch.testing.assert_close(ours, authors, rtol=1e-6, atol=1e-8)


def test_dps_leaves_a_sample_that_fits_alone() -> None:
    problem = dense_problem(0.5)
    x_t, time = state(problem, 1.0, count=1)
    fitting = problem.observe(problem.denoiser(x_t, time).mean)[0]
    denoiser = DPSDenoiser(guidance_problem(problem, y=fitting, scale=torch.ones(16)))
    assert torch.equal(denoiser(x_t, time).mean, problem.denoiser(x_t, time).mean)


@pytest.mark.parametrize("sigma", [0.1, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_members_do_not_see_one_another(kind: str, sigma: float) -> None:
    problem = linear_decoder_problem(0.5)
    denoiser = guide(problem, kind, SAMPLER)
    x_t, time = state(problem, sigma, count=7)
    many = denoiser(x_t, time).mean
    # What another member is does not matter either, however far off it is.
    x_t[3:] *= 100
    torch.testing.assert_close(denoiser(x_t, time).mean[:3], many[:3], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(denoiser(x_t[:1], time).mean, many[:1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_guidance_by_jacobians_is_off_above_a_noise_level(kind: str) -> None:
    problem = dense_problem(0.3)
    prior, guided = problem.denoiser, guide(problem, kind, SAMPLER)
    settings = GuidanceSettings(kind=kind, iterations=16, below_sigma=8.0)
    partly = guided_denoiser(guidance_problem(problem, settings))
    (x, low), (_, high) = state(problem, 7.9), state(problem, 8.1)
    assert torch.equal(partly(x, low).mean, guided(x, low).mean)
    assert torch.equal(partly(x, high).mean, prior(x, high).mean)
    assert not torch.equal(guided(x, high).mean, prior(x, high).mean)


def test_an_unknown_kind_is_refused() -> None:
    problem = dense_problem(0.3)
    with pytest.raises(UserError, match="found 'mpms'; did you mean 'mmps'"):
        guided_denoiser(guidance_problem(problem, GuidanceSettings(kind="mpms")))


def test_guidance_by_errors_needs_errors() -> None:
    problem = dense_problem(0.3)
    with pytest.raises(ValueError, match="needs denoising errors, found none"):
        guided_denoiser(guidance_problem(problem, GuidanceSettings(kind="decg")))


def test_weights_of_days_give_the_weighted_covariance() -> None:
    draw = torch.Generator().manual_seed(2)
    latent = torch.randn(30, 1, 2, 2, 3, generator=draw) + 4.0
    observed = torch.randn(30, 5, generator=draw)
    errors = DenoisingErrors.centred(latent, observed)
    alike = errors.weighted(torch.full((30,), 0.3))
    torch.testing.assert_close(alike.latent, errors.latent, rtol=1e-5, atol=1e-5)
    # Days that do not count might as well not be there: their number leaves no trace.
    chosen = torch.arange(30) % 3 == 0
    found = errors.weighted(chosen.float())
    subset = DenoisingErrors.centred(latent[chosen], observed[chosen])
    for name in ("latent", "observed"):
        part, expected = getattr(found, name).flatten(1), getattr(subset, name).flatten(1)
        assert not part[~chosen].any()
        torch.testing.assert_close(
            part.T @ part / 29, expected.T @ expected / 9, rtol=1e-4, atol=1e-5
        )
