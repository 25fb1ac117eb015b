"""A posterior of two modes: what guidance makes of the weights, measured and held to it.

The prior's weights are equal, the posterior's first is 0.691. No guidance is exact here; the
denoising errors of two modes are not Gaussian, and their covariance is not the same everywhere.
"""

from __future__ import annotations

import pytest
import torch

from slams.benchmarks.mixture import MixtureProblem, mixture_problem, modes_of
from slams.diffusion.settings import SamplerSettings


def quadrature(problem: MixtureProblem, samples: int = 400_000) -> tuple[float, torch.Tensor]:
    """Weigh draws of the prior by their likelihood: weight and mean of the first mode."""
    draw = torch.Generator().manual_seed(0)
    mode = torch.randint(2, (samples,), generator=draw)
    noise = torch.randn(samples, len(problem.covariance), generator=draw, dtype=torch.float64)
    z = problem.means[mode] + noise @ torch.linalg.cholesky(problem.covariance).T
    misfit = (problem.y - problem.observe(z)).square() / problem.variance
    weight = (-0.5 * misfit.sum(dim=1)).exp()
    first = weight * (mode == 0)
    return float(first.sum() / weight.sum()), (first @ z) / first.sum()


def test_closed_form_agrees_with_weighted_draws() -> None:
    problem = mixture_problem()
    weights, means, _ = problem.posterior
    weight, mean = quadrature(problem)
    assert weight == pytest.approx(float(weights[0]), abs=0.005)
    torch.testing.assert_close(mean, means[0], rtol=0, atol=0.01)
    assert float(weights.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("sigma", [0.2, 2.0])
def test_denoiser_is_the_mean_given_the_noisy_state(sigma: float) -> None:
    """Tweedie's formula: D = x_t + sigma^2 grad log p(x_t), with the density differentiated."""
    problem = mixture_problem()
    denoiser = problem.denoiser
    draw = torch.Generator().manual_seed(2)
    x_t = torch.randn(4, *problem.shape, generator=draw, dtype=torch.float64).requires_grad_()
    total = problem.covariance + sigma**2 * torch.eye(6, dtype=torch.float64)
    modes = torch.distributions.MultivariateNormal(problem.means, total)
    density = (problem.weights.log() + modes.log_prob(x_t.flatten(1)[:, None])).logsumexp(dim=1)
    (score,) = torch.autograd.grad(density.sum(), x_t)
    low, high = denoiser.schedule.sigma_min, denoiser.schedule.sigma_max
    time = torch.log(torch.tensor(sigma / low).double()) / torch.log(torch.tensor(high / low))
    expected = x_t + sigma**2 * score
    torch.testing.assert_close(denoiser(x_t, time).mean, expected, rtol=1e-5, atol=1e-5)


def test_the_posteriors_own_denoiser_gives_the_posterior() -> None:
    """Monte-Carlo error of a weight is 0.010, of a mode's mean 0.03 to 0.04."""
    found = modes_of(mixture_problem(), "exact", SamplerSettings())
    assert found.weight == pytest.approx(found.expected, abs=0.03)
    assert max(found.mean_error) < 0.07
    assert all(0.95 < ratio < 1.05 for ratio in found.sd_ratio)


# Weight of the first mode, error of the mean a mode, sd ratio a mode.
FIGURES = {
    "decg": (0.587, (0.079, 0.158), (0.988, 1.001)),
    "mmps": (0.641, (0.111, 0.086), (1.005, 1.017)),
    "dps": (0.668, (0.254, 0.526), (0.762, 0.784)),
    "sda": (0.555, (0.139, 0.054), (1.001, 1.009)),
    "pgdm": (0.572, (0.146, 0.108), (1.031, 1.042)),
}


@pytest.mark.parametrize("kind", list(FIGURES))
def test_guidance_keeps_its_figures(kind: str) -> None:
    """DECG and MMPS get each mode nearly right, but move its weight a half and three quarters.

    The weight is decided at high noise, where one covariance for both modes (DECG) or a Gaussian
    about their average (MMPS) stands for two separate possibilities. DPS comes nearest to the
    weight, by its step length and not by R, with modes that are too narrow and off by up to 0.5.
    """
    weight, mean_error, sd_ratio = FIGURES[kind]
    found = modes_of(mixture_problem(), kind, SamplerSettings())
    assert found.weight == pytest.approx(weight, abs=0.03)
    assert found.mean_error == pytest.approx(mean_error, abs=0.05)
    assert found.sd_ratio == pytest.approx(sd_ratio, abs=0.04)
    assert found.diverged == 0
    # All of them move it in the right direction, and none beyond.
    assert 0.53 < found.weight < found.expected + 0.03
