"""MMPS that linearises its operator several times, of a Gaussian prior with an exact denoiser."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from slams.benchmarks.gaussian import GaussianProblem, dense_problem
from slams.diffusion.backend import Denoiser, time_of_sigma
from slams.diffusion.guidance.mmps import mmps_denoiser
from slams.diffusion.settings import GuidanceSettings
from tests.diffusion.problems import guidance_problem

SIGMA = 1.5
SILENT = torch.arange(16) == 3


def saturated(seen: Tensor) -> Tensor:
    return seen / (1 + seen.abs())


def setting(offset: float = 0.0) -> tuple[GaussianProblem, Tensor, Tensor]:
    problem = dense_problem(0.1)
    draw = torch.Generator().manual_seed(2)
    x_t = SIGMA * torch.randn(4, *problem.shape, generator=draw, dtype=torch.float64) + offset
    time = time_of_sigma(torch.tensor(SIGMA, dtype=torch.float64), problem.denoiser.schedule)
    return problem, x_t, time


def saturating(problem: GaussianProblem, linearisations: int, error: float = 0.02) -> Denoiser:
    """See what saturates, each value nearly exactly."""
    variance = torch.full_like(problem.y, error**2)
    return mmps_denoiser(
        guidance_problem(
            problem,
            GuidanceSettings(iterations=16, linearisations=linearisations),
            observe=lambda x: saturated(problem.observe(x)),
            y=saturated(problem.y),
            total_variance=variance,
        )
    )


@pytest.mark.parametrize("silent", [None, SILENT], ids=["gaussian", "censored"])
def test_linear_operators_need_one(silent: Tensor | None) -> None:
    problem, x_t, time = setting()
    means = [
        mmps_denoiser(
            guidance_problem(
                problem, GuidanceSettings(iterations=16, linearisations=count), silent=silent
            )
        )(x_t, time).mean
        for count in (1, 2, 5)
    ]
    torch.testing.assert_close(means[1], means[0], rtol=0, atol=1e-8)
    torch.testing.assert_close(means[2], means[0], rtol=0, atol=1e-8)


# Far out, where the sensor shows next to nothing, full steps would not come back.
@pytest.mark.parametrize("offset", [0.0, 4.0, -4.0])
def test_what_many_end_at_is_the_most_probable_state(offset: float) -> None:
    problem, x_t, time = setting(offset)
    covariance = problem.covariance
    spread = covariance - covariance @ torch.linalg.solve(
        covariance + SIGMA**2 * torch.eye(len(covariance)), covariance
    )
    denoised = problem.denoiser(x_t, time).mean.flatten(1)

    def slope(count: int) -> Tensor:
        """Return the gradient of the log-density, times the prior's covariance."""
        x = saturating(problem, count)(x_t, time).mean
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            misfit = saturated(problem.y) - saturated(problem.observe(x))
            (pull,) = torch.autograd.grad(-misfit.square().sum() / (2 * 0.02**2), x)
        return denoised - x.detach().flatten(1) + pull.flatten(1) @ spread

    assert slope(40).abs().max() < 1e-5
    # One linearisation is far from it.
    assert slope(1).abs().max() > 10


def test_a_step_that_overshoots_is_cut() -> None:
    """Each linearisation makes every member more probable, or leaves it where it is."""
    problem, x_t, time = setting(4.0)
    denoised = problem.denoiser(x_t, time).mean.flatten(1)
    covariance = problem.covariance
    precision = torch.linalg.inv(covariance) + torch.eye(len(covariance)) / SIGMA**2

    def cost(count: int) -> Tensor:
        x = saturating(problem, count)(x_t, time).mean
        away = x.flatten(1) - denoised
        misfit = saturated(problem.y) - saturated(problem.observe(x))
        return (misfit / 0.02).square().sum(dim=1) + ((away @ precision) * away).sum(dim=1)

    costs = torch.stack([cost(count) for count in (2, 3, 4, 6, 8)])
    assert (costs.diff(dim=0) <= 1e-6 * costs[:-1]).all()
    # It mattered: one linearisation, which takes the whole step, leaves some worse than at first.
    before = ((saturated(problem.y) - saturated(denoised @ problem.operator.T)) / 0.02).square()
    assert (cost(1) > before.sum(dim=1)).any()


def test_members_do_not_see_each_other() -> None:
    problem, x_t, time = setting(2.0)
    together = saturating(problem, 4)(x_t, time).mean
    for member in range(len(x_t)):
        alone = saturating(problem, 4)(x_t[member : member + 1], time).mean
        torch.testing.assert_close(together[member : member + 1], alone, rtol=0, atol=1e-9)


def test_the_next_linearisation_goes_on_solving() -> None:
    """Three of two iterations come nearer to the solution than one, or one of three."""
    problem, x_t, time = setting()

    def answer(iterations: int, count: int) -> Tensor:
        settings = GuidanceSettings(iterations=iterations, linearisations=count)
        guided = mmps_denoiser(guidance_problem(problem, settings))
        return guided(x_t, time).mean

    exact = answer(16, 1)
    one, other, several = (
        (answer(*counts) - exact).square().mean().sqrt() for counts in ((2, 1), (3, 1), (2, 6))
    )
    assert several < other < one
    assert several < 0.3 * one
