r"""Denoising-error-covariance guidance (DECG).

The posterior denoiser is `E[z | z_t, y]`. If, given `z_t`, the state `z` is Gaussian with mean
`D(z_t)` and covariance `P_sigma`, and `y = H dec(z) + e` with linear `H dec`, then

    E[z | z_t, y] = D + P_sigma H^T (H P_sigma H^T + R)^-1 (y - H dec(D)).

For a Gaussian prior `P_sigma` does not depend on `z_t`: it is the covariance of the denoising
error `e_z = z - D(z + sigma n)`, and the formula is exact. For other priors it is the linear
minimum-variance estimate *on average over z_t*. The covariance is estimated from `N` days of
the training period at each noise level of the sampler. Errors are paired: `e_z` in latent space,
and `H e_x` with `e_x = x - dec(D)` in field space, which includes the error of the decoder, so
that `H C_dec H^T` need not be added to `R`.

    S = L_oo * (H e_x)(H e_x)^T / (N - 1) + R,    K = L_zo * (e_z (H e_x)^T / (N - 1)) S^-1

with `L` a localisation by distance (elementwise product), which removes the sampling noise that
arises because `N` << dimension. No Jacobian of the network is needed, and all members share one
gain.

A censored observation at its bound is not an exact value: it means only that `u = y + e <= b`.
With `u` Gaussian given `z_t`, `E[z | z_t, y] = D + K (E[u | y] - H dec(D))` replaces the formula
above, member by member with the same `S` (`slams.linalg.censoring`). For a Gaussian prior and one
censored observation the denoiser is exact again, and so are the samples, which need not be
Gaussian.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.diffusion.backend import DiracPosterior
from slams.diffusion.posterior.errors import DenoisingErrors
from slams.diffusion.posterior.pointwise import PointwiseDenoiser
from slams.diffusion.posterior.problem import GuidanceProblem, GuidedDenoiser
from slams.plugins.guidance import GuidanceSpec
from slams.runtime.stopwatch import Stopwatch

__all__ = ["SPEC", "DECGDenoiser"]


class DECGDenoiser(GuidedDenoiser):
    """A denoiser corrected by the observations of one case.

    Args:
        problem: Prior, observations and denoising errors of archive days; `variance` is the
            diagonal of `R`, because the decoder's error is part of the denoising errors.

    Attributes:
        seconds: Time spent on solving for increments so far, without that of the networks.

    Raises:
        ValueError: The problem has no denoising errors.
    """

    def __init__(self, problem: GuidanceProblem) -> None:
        super().__init__(problem)
        self.covariance = problem.error_covariance()
        self.seconds = 0.0

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return `E[z | z_t, y]` for `(M, T, K, h, w)` states at one time `()`."""
        _, sigma_t = self.schedule(t)
        mean = self.denoiser(x_t, t, **condition).mean
        innovation = self.problem.y - self.problem.observe(mean)
        with Stopwatch(mean.device) as watch:
            errors = self.covariance.nearest(sigma_t)
            if self.covariance.weights is not None:
                errors = errors.weighted(self.covariance.weights)
            increment = self._increment(errors, innovation)
        self.seconds += watch.seconds
        return DiracPosterior(mean=mean + increment.reshape(mean.shape))

    def _increment(self, errors: DenoisingErrors, innovation: Tensor) -> Tensor:
        """Apply the gain to `(M, P)` innovations; return `(M, F, S)`."""
        held = self.covariance
        # Each of several processes solves some domains, for the members of all of them.
        innovation, own = held.gain.partners.rows(innovation)
        observed = errors.observed[:, held.columns]
        weights = held.gain.solve(observed, self.problem.variance, innovation)
        return held.gain.increments(errors.latent, observed, weights)[own]


SPEC = GuidanceSpec(
    "decg", DECGDenoiser, uses_jacobian=False, uses_errors=True, build_latent=PointwiseDenoiser
)
