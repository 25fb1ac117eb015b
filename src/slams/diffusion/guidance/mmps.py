"""Moment-matching posterior sampling (MMPS; Rozet et al. 2024, arXiv 2405.13712).

The covariance of `z` given `z_t` is taken from Tweedie's formula, `sigma_t^2 dD/dz_t`, so that

    E[z | z_t, y] = D + sigma_t^2 J^T H^T (R + H sigma_t^2 J^T H^T)^-1 (y - H dec(D)),

solved by a few GMRES iterations of vector-Jacobian products. GMRES rather than conjugate
gradients, because the Jacobian of a trained network is not symmetric positive definite.

GMRES minimises the norm of a residual, which sums the contributions of all instruments. So that K,
log(1 + mm) and W m-2 are comparable, the system is solved in units of the observation error,

    (I + R^-1/2 H sigma_t^2 J^T H^T R^-1/2) (R^1/2 w) = R^-1/2 (y - H dec(D)),

and the solution does not depend on the units of any observation, however few the iterations.

If the operator `A = H dec` is not linear, it is linearised about `D`. Far from the solution this
can be much too certain: for a sensor that saturates, the slope is largest at `D = 0`. With
`linearisations` above one it is repeated about the last solution `x` (Gauss-Newton; the iterated
extended Kalman filter of Bell and Cathey 1993), with `D` and `P = sigma_t^2 J` unchanged:

    x <- D + P A'^T (R + A' P A'^T)^-1 (y - A(x) - A' (D - x)),   A' = A'(x),

whose stationary point is the most probable state, `D - x + P A'^T R^-1 (y - A(x)) = 0`. With an
operator that saturates such steps can overshoot: each member takes the largest of 1, 1/2, 1/4 and
1/8 of its step that makes its own state more probable.

Censored observations at their bound enter as Gaussian ones with the slope and curvature of their
likelihood about `H dec(D)`, see `slams.linalg.censoring`, the same for all linearisations; this
takes one more evaluation of the denoiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from slams.diffusion.backend import (
    Denoiser,
    DiagonalCovariance,
    DiracPosterior,
    MMPSDenoiser,
    generalized_minimal_residual,
)
from slams.diffusion.posterior.problem import GuidanceProblem, GuidedDenoiser
from slams.linalg.censoring import linearised_observations
from slams.linalg.whitening import error_unit
from slams.plugins.guidance import GuidanceSpec

__all__ = ["SPEC", "mmps_denoiser"]

# Fractions of a Gauss-Newton step that are tried, the largest first.
_SHARES = (1.0, 0.5, 0.25, 0.125)


def mmps_denoiser(problem: GuidanceProblem) -> Denoiser:
    """Build the guided denoiser of one case.

    Args:
        problem: Prior, observations and settings: `iterations` of GMRES per linearisation, and
            `linearisations` of `observe`, the first about `D`; one is enough if it is linear.
    """
    if problem.censored:
        return _CensoredMMPS(problem)
    return _gaussian(problem, problem.y, problem.total_variance)


def _gaussian(problem: GuidanceProblem, values: Tensor, variance: Tensor) -> Denoiser:
    """Build the denoiser for Gaussian observations with other values and error variances."""
    unit = error_unit(variance)
    # In units of the standard deviation of the observation error.
    white = replace(
        problem,
        observe=lambda states: problem.observe(states) / unit,
        y=values / unit,
        total_variance=variance / unit**2,
    )
    if problem.settings.linearisations > 1:
        return _IteratedMMPS(white)
    return MMPSDenoiser(
        problem.denoiser,
        y=white.y,
        A=white.observe,
        cov_y=DiagonalCovariance(white.total_variance),
        solver="gmres",
        iterations=problem.settings.iterations,
    )


class _IteratedMMPS(GuidedDenoiser):
    """Guidance by several linearisations, each about the last solution, with one denoiser call."""

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        _, sigma_t = self.schedule(t)
        with torch.enable_grad():
            x_t = x_t.detach().requires_grad_()
            denoised = self.denoiser(x_t, t, **condition).mean
        mean = denoised.detach()

        def spread(v: Tensor) -> Tensor:
            """Return P v, up to the asymmetry of the Jacobian."""
            return sigma_t**2 * torch.autograd.grad(denoised, x_t, v, retain_graph=True)[0]

        # The increment x - D is P times the source, which gives its cost without another solve.
        increment, source = torch.zeros_like(mean), torch.zeros_like(mean)
        cost = self._cost(mean, increment, source)
        weights = None
        for number in range(self.problem.settings.linearisations):
            # A few iterations do not solve the system: the next ones start from their result.
            weights, full = self._solved(mean, increment, spread, weights)
            towards = spread(full) - increment, full - source
            share = self._share(mean, increment, source, towards, cost)
            if number == 0:
                # If no fraction lowers the cost, use the result of one linearisation.
                share = torch.where(share > 0, share, 1.0)
            elif not bool((share > 0).any()):
                break
            share = share.reshape(-1, *[1] * (mean.ndim - 1))
            increment = increment + share * towards[0]
            source = source + share * towards[1]
            cost = self._cost(mean, increment, source)
        return DiracPosterior(mean=mean + increment)

    def _solved(
        self,
        mean: Tensor,
        increment: Tensor,
        spread: Callable[[Tensor], Tensor],
        start: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Solve the system linearised at x.

        Returns:
            `w = (R + A' P A'^T)^-1 (y - A(x) + A' (x - D))` and the source `A'^T w`.
        """
        problem, state = self.problem, mean + increment

        def tangent(v: Tensor) -> Tensor:
            return torch.func.jvp(problem.observe, (state,), (v,))[1]

        observed, adjoint = torch.func.vjp(problem.observe, state)

        def system(v: Tensor) -> Tensor:
            return v * problem.total_variance + tangent(spread(adjoint(v.to(observed))[0]))

        innovation = problem.y - observed + tangent(increment)
        weights = generalized_minimal_residual(
            system, innovation, x0=start, iterations=problem.settings.iterations
        )
        return weights, adjoint(weights.to(observed))[0]

    def _cost(self, mean: Tensor, increment: Tensor, source: Tensor) -> Tensor:
        """Return minus twice the log-density of each member, `(M,)`, up to a constant."""
        departure = self.problem.y - self.problem.observe(mean + increment)
        misfit = departure.square() / self.problem.total_variance
        return misfit.flatten(1).sum(dim=1) + (increment * source).flatten(1).sum(dim=1)

    def _share(
        self,
        mean: Tensor,
        increment: Tensor,
        source: Tensor,
        towards: tuple[Tensor, Tensor],
        cost: Tensor,
    ) -> Tensor:
        """Return per member the largest fraction of its step that lowers its cost, 0 if none."""
        chosen = torch.zeros_like(cost)
        for share in _SHARES:
            tried = self._cost(mean, increment + share * towards[0], source + share * towards[1])
            chosen = torch.where((chosen == 0) & (tried < cost), share, chosen)
            if bool((chosen > 0).all()):
                break
        return chosen


class _CensoredMMPS(GuidedDenoiser):
    """Guidance with the likelihood linearised about the denoised state, member by member."""

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        problem = self.problem
        predicted = problem.observe(self.denoiser(x_t, t, **condition).mean)
        innovation, variance = linearised_observations(
            problem.y - predicted, problem.total_variance, problem.silent
        )
        return _gaussian(problem, predicted + innovation, variance)(x_t, t, **condition)


SPEC = GuidanceSpec("mmps", mmps_denoiser)
