"""Moment-matching posterior sampling (MMPS; Rozet et al. 2024, arXiv 2405.13712).

The covariance of `z` given `z_t` is taken from Tweedie's formula, `sigma_t^2 dD/dz_t`, so that

    E[z | z_t, y] = D + sigma_t^2 J^T H^T (R + H sigma_t^2 J^T H^T)^-1 (y - H dec(D)),

solved by a few GMRES iterations of vector-Jacobian products. GMRES rather than conjugate
gradients, because the Jacobian of a trained network is not symmetric positive definite.

Censored observations that read their bound enter as Gaussian ones with the slope and curvature
of their likelihood about `H dec(D)`, see `slams.censoring`; this takes one more evaluation of the
denoiser.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from slams.censoring import linearised_observations
from slams.diffusion.backend import (
    Denoiser,
    DiagonalCovariance,
    DiracPosterior,
    MMPSDenoiser,
)

__all__ = ["below_sigma", "mmps_denoiser"]


class _BelowSigma(Denoiser):
    def __init__(self, guided: Denoiser, prior: Denoiser, limit: float) -> None:
        super().__init__()
        self.guided = guided
        self.prior = prior
        self.limit = limit

    @property
    def schedule(self):
        return self.prior.schedule

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        _, sigma_t = self.schedule(t)
        denoiser = self.guided if float(sigma_t) < self.limit else self.prior
        return denoiser(x_t, t, **condition)


def below_sigma(guided: Denoiser, prior: Denoiser, limit: float) -> Denoiser:
    """Guides only below a noise level, where the learned Jacobian can be trusted.

    Args:
        guided: Denoiser of the posterior.
        prior: Denoiser of the prior.
        limit: Noise level at and above which the prior's is used.
    """
    return _BelowSigma(guided, prior, limit)


def mmps_denoiser(
    denoiser: Denoiser,
    observe: Callable[[Tensor], Tensor],
    y: Tensor,
    variance: Tensor,
    iterations: int,
    silent: Tensor | None = None,
) -> Denoiser:
    """Builds the guided denoiser of one case.

    Args:
        denoiser: Denoiser `D` of the prior, of `(M, T, K, h, w)`.
        observe: Maps latents `(M, T, K, h, w)` to `(M, P)`, decoder and `H` together.
        y: `(P,)` observed values.
        variance: `(P,)` diagonal of `R`, the decoder's error included.
        iterations: GMRES iterations.
        silent: `(P,)` bool, where a censored observation reads its bound; `None` for nowhere.
    """
    if silent is not None and bool(silent.any()):
        return _CensoredMMPS(denoiser, observe, y, variance, iterations, silent)
    return _gaussian(denoiser, observe, y, variance, iterations)


def _gaussian(
    denoiser: Denoiser,
    observe: Callable[[Tensor], Tensor],
    y: Tensor,
    variance: Tensor,
    iterations: int,
) -> Denoiser:
    return MMPSDenoiser(
        denoiser,
        y=y,
        A=observe,
        cov_y=DiagonalCovariance(variance),
        solver="gmres",
        iterations=iterations,
    )


class _CensoredMMPS(Denoiser):
    """Linearises the likelihood about what is denoised, member by member."""

    def __init__(
        self,
        denoiser: Denoiser,
        observe: Callable[[Tensor], Tensor],
        y: Tensor,
        variance: Tensor,
        iterations: int,
        silent: Tensor,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.observe = observe
        self.y = y
        self.variance = variance
        self.iterations = iterations
        self.silent = silent

    @property
    def schedule(self):
        return self.denoiser.schedule

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        predicted = self.observe(self.denoiser(x_t, t, **condition).mean)
        innovation, variance = linearised_observations(
            self.y - predicted, self.variance, self.silent
        )
        y = predicted + innovation
        return _gaussian(self.denoiser, self.observe, y, variance, self.iterations)(
            x_t, t, **condition
        )
