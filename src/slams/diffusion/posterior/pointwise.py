r"""Denoising-error-covariance guidance by observations of the latents themselves.

At each latent point (and day) an observation `y_z = A z + b + e`, `e ~ N(0, R_z)`, of all `K`
latent channels is given. With `P_sigma` the `K x K` covariance of denoising errors at that point
(`slams.diffusion.guidance.decg`),

    E[z | z_t, y_z] = D + P_sigma A^T (A P_sigma A^T + R_z)^-1 (y_z - A D - b).

Points are treated separately: information about the neighbours of a point comes through the
denoiser only. This is exact for a Gaussian prior that is independent from point to point.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slams.diffusion.backend import DiracPosterior
from slams.diffusion.posterior.errors import DenoisingErrors
from slams.diffusion.posterior.problem import GuidanceProblem, GuidedDenoiser

__all__ = ["LatentObservation", "PointwiseDenoiser"]

# Fraction of the mean of the diagonal that is added to it, since S may be singular.
_JITTER = 1e-5


@dataclass(frozen=True)
class LatentObservation:
    """Observation of latents, point by point.

    Attributes:
        values: `(T, S, K)` y_z.
        matrix: `(T, S, K, K)` A.
        offset: `(T, S, K)` b.
        covariance: `(T, S, K, K)` R_z, in squared units of standardised latents.
    """

    values: Tensor
    matrix: Tensor
    offset: Tensor
    covariance: Tensor

    def observe(self, latents: Tensor) -> Tensor:
        """Return `A z + b` of `(M, T, K, h, w)` latents, `(M, T, S, K)`."""
        points = latents.flatten(-2).transpose(-1, -2)
        return (self.matrix @ points[..., None])[..., 0] + self.offset


class PointwiseDenoiser(GuidedDenoiser):
    """A denoiser corrected by an observation of its latents.

    Args:
        problem: Prior and denoising errors of archive days, of which only the latent part is used.
        observation: The observation.

    Raises:
        ValueError: The problem has no denoising errors.
    """

    def __init__(self, problem: GuidanceProblem, observation: LatentObservation) -> None:
        super().__init__(problem)
        self.covariance = problem.error_covariance()
        self.observation = observation

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return `E[z | z_t, y_z]` for `(M, T, K, h, w)` states at one time `()`."""
        _, sigma_t = self.schedule(t)
        mean = self.denoiser(x_t, t, **condition).mean
        innovation = self.observation.values - self.observation.observe(mean)
        gain = self._gain(self.covariance.nearest(sigma_t), mean.shape[1]).to(mean)
        increment = (gain @ innovation[..., None])[..., 0]
        return DiracPosterior(mean=mean + increment.transpose(-1, -2).reshape(mean.shape))

    def _gain(self, errors: DenoisingErrors, days: int) -> Tensor:
        """Return P A^T S^-1, `(T, S, K, K)`."""
        points = errors.latent.unflatten(1, (days, -1)).permute(1, 3, 0, 2).to(torch.float64)
        prior = points.transpose(-1, -2) @ points / (points.shape[-2] - 1)
        matrix = self.observation.matrix.to(torch.float64)
        cross = prior @ matrix.transpose(-1, -2)
        total = matrix @ cross + self.observation.covariance.to(torch.float64)
        diagonal = total.diagonal(dim1=-2, dim2=-1)
        raise_by = _JITTER * diagonal.mean(dim=-1, keepdim=True).clamp(min=1e-6)
        total = total + torch.diag_embed(raise_by.expand_as(diagonal))
        return torch.linalg.solve(total, cross.transpose(-1, -2)).transpose(-1, -2)
