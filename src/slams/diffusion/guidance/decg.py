r"""Denoising-error-covariance guidance (DECG).

The posterior denoiser is `E[z | z_t, y]`. If, given `z_t`, the state `z` is Gaussian with mean
`D(z_t)` and covariance `P_sigma`, and `y = H dec(z) + e` with linear `H dec`, then

    E[z | z_t, y] = D + P_sigma H^T (H P_sigma H^T + R)^-1 (y - H dec(D)).

For a Gaussian prior `P_sigma` does not depend on `z_t`: it is the covariance of the denoising
error `e_z = z - D(z + sigma n)`, and the formula is exact. For other priors it is the linear
minimum-variance estimate *on average over z_t*. The covariance is estimated from `N` days of
the training period at each noise level that the sampler visits. Errors are paired: `e_z` in
latent space, and `H e_x` with `e_x = x - dec(D)` in field space, which contains the decoder's
own error, so that `H C_dec H^T` need not be added to `R`.

    S = L_oo * (H e_x)(H e_x)^T / (N - 1) + R,    K = L_zo * (e_z (H e_x)^T / (N - 1)) S^-1

with `L` a localisation by distance (elementwise product), which removes the sampling noise of
`N` << dimension. There is no Jacobian of the network, and one gain serves all members.

A censored observation that reads its bound is no number: what is known is `u = y + e <= b`. With
`u` Gaussian given `z_t`, `E[z | z_t, y] = D + K (E[u | y] - H dec(D))` takes the place of the
formula above, member by member with the same `S` (`slams.linalg.censoring`). For a Gaussian prior
and one censored observation the denoiser is exact again, and so are the samples, which need not
be Gaussian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior
from slams.linalg.censoring import solve_censored
from slams.linalg.localised_gain import (
    innovation_covariance,
    localised_increments,
    solve_innovations,
)

__all__ = ["DECGDenoiser", "DenoisingErrors"]


@dataclass(frozen=True)
class DenoisingErrors:
    """Holds denoising errors of training days at one noise level, centred.

    Attributes:
        latent: `(N, F, S)` errors in latent space, `F` features (days x latent channels) at `S`
            horizontal points.
        observed: `(N, Q)` the same days' errors seen through `H`, whole network.
    """

    latent: Tensor
    observed: Tensor

    @classmethod
    def centred(cls, latent: Tensor, observed: Tensor) -> DenoisingErrors:
        """Removes the mean over the days.

        Args:
            latent: `(N, T, K, h, w)`.
            observed: `(N, Q)`.
        """
        n, days, channels = latent.shape[:3]
        flat = latent.reshape(n, days * channels, -1)
        return cls(flat - flat.mean(dim=0), observed - observed.mean(dim=0))

    def weighted(self, weights: Tensor) -> DenoisingErrors:
        """Lets days count differently.

        Products summed over days and divided by `N - 1` then are the unbiased weighted covariance.

        Args:
            weights: `(N,)` not negative, more than one of them above zero.
        """
        share = weights / weights.sum()
        scale = (share * (len(share) - 1) / (1 - share.square().sum())).sqrt()
        parts = []
        for values in (self.latent, self.observed):
            flat = values.flatten(1)
            mean = share.to(flat) @ flat
            parts.append(((flat - mean) * scale.to(flat)[:, None]).reshape(values.shape))
        return DenoisingErrors(*parts)


class DECGDenoiser(Denoiser):
    """Corrects a denoiser by the observations of one case.

    Args:
        denoiser: Denoiser `D` of the prior, of `(M, T, K, h, w)`.
        observe: Maps `(M, T, K, h, w)` latents to `(M, P)`, decoder and `H` together.
        levels: `(L,)` noise levels at which errors are held.
        errors: One entry a level.
        columns: `(P,)` which of the network's `Q` points this case observes.
        y: `(P,)` observed values.
        variance: `(P,)` diagonal of `R`.
        localisation_oo: `(P, P)` localisation between observations.
        localisation_zo: `(S, P)` localisation between latent points and observations.
        silent: `(P,)` bool, where a censored observation reads its bound; `None` for nowhere.
        weights: `(N,)` how much each day of the errors counts; `None` for alike.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        observe: Callable[[Tensor], Tensor],
        levels: Tensor,
        errors: list[DenoisingErrors],
        columns: Tensor,
        y: Tensor,
        variance: Tensor,
        localisation_oo: Tensor,
        localisation_zo: Tensor,
        silent: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.denoiser = denoiser
        self.observe = observe
        self.levels = levels
        self.errors = errors
        self.columns = columns
        self.y = y
        self.variance = variance
        self.localisation_oo = localisation_oo
        self.localisation_zo = localisation_zo
        self.silent = silent if silent is not None and bool(silent.any()) else None

    @property
    def schedule(self):
        """Gives the schedule of the prior's denoiser."""
        return self.denoiser.schedule

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Gives `E[z | z_t, y]` for `(M, T, K, h, w)` states at one time `()`."""
        _, sigma_t = self.schedule(t)
        mean = self.denoiser(x_t, t, **condition).mean
        level = int((self.levels.log() - sigma_t.log().to(self.levels)).abs().argmin())
        errors = self.errors[level]
        if self.weights is not None:
            errors = errors.weighted(self.weights)
        innovation = self.y - self.observe(mean)
        return DiracPosterior(mean=mean + self._increment(errors, innovation).reshape(mean.shape))

    def _increment(self, errors: DenoisingErrors, innovation: Tensor) -> Tensor:
        """Applies the gain to `(M, P)` innovations; gives `(M, F, S)`."""
        observed = errors.observed[:, self.columns]
        covariance = innovation_covariance(observed, self.localisation_oo, self.variance)
        if self.silent is None:
            weights = solve_innovations(covariance, innovation)
        else:
            weights = solve_censored(covariance, innovation, self.silent)
        return localised_increments(errors.latent, observed, self.localisation_zo, weights)
