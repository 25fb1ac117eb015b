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

from collections.abc import Callable

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior
from slams.diffusion.posterior.errors import DenoisingErrors, ErrorCovariance
from slams.diffusion.posterior.pointwise import LatentObservation, PointwiseDenoiser
from slams.diffusion.posterior.problem import GuidanceProblem
from slams.linalg.censoring import solve_censored
from slams.linalg.localised_gain import (
    innovation_covariance,
    localised_increments,
    solve_innovations,
)
from slams.plugins.guidance import GuidanceSpec

__all__ = ["SPEC", "DECGDenoiser"]


class DECGDenoiser(Denoiser):
    """A denoiser corrected by the observations of one case.

    Args:
        denoiser: Denoiser `D` of the prior, of `(M, T, K, h, w)`.
        observe: Map from `(M, T, K, h, w)` latents to `(M, P)`, decoder and `H` together.
        y: `(P,)` observed values.
        variance: `(P,)` diagonal of `R`; the decoder's error is part of the denoising errors.
        covariance: The denoising errors of archive days, prepared for this case.
        silent: `(P,)` bool, True where a censored observation is at its bound; `None` if none is.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        observe: Callable[[Tensor], Tensor],
        y: Tensor,
        variance: Tensor,
        covariance: ErrorCovariance,
        silent: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.observe = observe
        self.y = y
        self.variance = variance
        self.covariance = covariance
        self.silent = silent if silent is not None and bool(silent.any()) else None

    @property
    def schedule(self):
        """Return the schedule of the prior's denoiser."""
        return self.denoiser.schedule

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return `E[z | z_t, y]` for `(M, T, K, h, w)` states at one time `()`."""
        _, sigma_t = self.schedule(t)
        mean = self.denoiser(x_t, t, **condition).mean
        errors = self.covariance.nearest(sigma_t)
        if self.covariance.weights is not None:
            errors = errors.weighted(self.covariance.weights)
        innovation = self.y - self.observe(mean)
        return DiracPosterior(mean=mean + self._increment(errors, innovation).reshape(mean.shape))

    def _increment(self, errors: DenoisingErrors, innovation: Tensor) -> Tensor:
        """Apply the gain to `(M, P)` innovations; return `(M, F, S)`."""
        held = self.covariance
        observed = errors.observed[:, held.columns]
        covariance = innovation_covariance(observed, held.localisation_oo, self.variance)
        if self.silent is None:
            weights = solve_innovations(covariance, innovation)
        else:
            weights = solve_censored(covariance, innovation, self.silent)
        return localised_increments(errors.latent, observed, held.localisation_zo, weights)


def _build(problem: GuidanceProblem) -> Denoiser:
    return DECGDenoiser(
        problem.denoiser,
        problem.observe,
        problem.y,
        problem.variance,
        problem.error_covariance(),
        problem.silent,
    )


def _build_latent(problem: GuidanceProblem, seen: LatentObservation) -> Denoiser:
    return PointwiseDenoiser(problem.denoiser, problem.error_covariance(), seen)


SPEC = GuidanceSpec(
    "decg", _build, uses_jacobian=False, uses_errors=True, build_latent=_build_latent
)
