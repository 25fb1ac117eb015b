r"""The step common to SDA, DPS and PGDM: the gradient of a likelihood through the denoiser.

By Tweedie's formula the posterior denoiser is

    E[z | z_t, y] = D(z_t) + sigma_t^2 grad_{z_t} log p(y | z_t).

The three differ in how they approximate `p(y | z_t)` around `H dec(D)`. With `J = dD/dz_t`,
`A = H dec` and the innovation `d = y - A(D)`, each results in

    grad_{z_t} log p(y | z_t) = J^T A'^T w(d, sigma_t),

one vector-Jacobian product. Samples are computed together but independently of one another. The
likelihood of a censored observation at its bound (`silent`) is `Phi((b - A(D)) / s)`, see
`slams.linalg.censoring`; each subclass documents how it treats it.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from slams.diffusion.backend import DiracPosterior
from slams.diffusion.posterior.problem import GuidanceProblem, GuidedDenoiser

__all__ = ["LikelihoodGuidance"]


class LikelihoodGuidance(GuidedDenoiser):
    """A denoiser plus `sigma_t^2 J^T A'^T w`; a subclass computes the weights `w`.

    Args:
        problem: Prior, observations and settings.

    Attributes:
        silent: `(P,)` bool, True where a censored observation is at its bound.
    """

    def __init__(self, problem: GuidanceProblem) -> None:
        super().__init__(problem)
        none = torch.zeros_like(problem.y, dtype=torch.bool)
        self.silent = none if problem.silent is None else problem.silent

    @abstractmethod
    def weights(self, innovation: Tensor, sigma_t: Tensor, mean: Tensor) -> Tensor:
        """Return `w`.

        Args:
            innovation: `(M, P)` observed minus denoised.
            sigma_t: `()` noise level.
            mean: `(M, ...)` denoised states, about which `A` is linearised.

        Returns:
            `(M, P)`.
        """

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return `E[z | z_t, y]` for `(M, ...)` states at one time `()`."""
        _, sigma_t = self.schedule(t)
        with torch.enable_grad():
            x_t = x_t.detach().requires_grad_()
            mean = self.denoiser(x_t, t, **condition).mean
            observed = self.problem.observe(mean)
        weights = self.weights(self.problem.y - observed.detach(), sigma_t, mean.detach())
        (gradient,) = torch.autograd.grad(observed, x_t, weights.to(observed))
        return DiracPosterior(mean=mean.detach() + sigma_t**2 * gradient)
