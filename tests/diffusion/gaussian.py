"""A Gaussian prior with its exact denoiser, and the posterior that samplers must reproduce.

x ~ N(m, B),  y = G x + e,  e ~ N(0, R)
S = G B G^T + R,  mean = m + B G^T S^-1 (y - G m),  covariance = B - B G^T S^-1 G B
Cov(x | x_sigma) = (B^-1 + sigma^-2)^-1
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slams.diffusion.backend import FullCovariance, GaussianDenoiser, VESchedule
from slams.diffusion.guidance import DenoisingErrors

__all__ = ["GaussianProblem", "gaussian_problem"]

SHAPE = (1, 2, 4, 6)


@dataclass(frozen=True)
class GaussianProblem:
    """Holds prior, observations and posterior; `D` components, `P` of them observed mixtures."""

    mean: Tensor
    covariance: Tensor
    operator: Tensor
    variance: Tensor
    y: Tensor

    @property
    def denoiser(self) -> GaussianDenoiser:
        """Gives the exact denoiser of `(M, *SHAPE)` states."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return _Flat(
            GaussianDenoiser(
                self.mean,
                FullCovariance(vectors, values),
                VESchedule(sigma_min=1e-2, sigma_max=1e2),
            )
        )

    def observe(self, x: Tensor) -> Tensor:
        """Maps `(M, *SHAPE)` to `(M, P)`."""
        return x.flatten(1) @ self.operator.T

    @property
    def posterior(self) -> tuple[Tensor, Tensor]:
        """Gives the posterior mean `(D,)` and covariance `(D, D)`."""
        cross = self.covariance @ self.operator.T
        s = self.operator @ cross + torch.diag(self.variance)
        gain = torch.linalg.solve(s, cross.T).T
        mean = self.mean + gain @ (self.y - self.operator @ self.mean)
        return mean, self.covariance - gain @ cross.T

    def errors(self, sigma: Tensor, count: int = 400) -> DenoisingErrors:
        """Gives denoising errors whose sample covariance is exactly `Cov(x | x_sigma)`."""
        values, vectors = torch.linalg.eigh(self.covariance)
        sd = (1 / (1 / values + 1 / sigma**2)).sqrt()
        noise = torch.randn(
            count, len(values), generator=torch.Generator().manual_seed(3), dtype=values.dtype
        )
        white, _ = torch.linalg.qr(noise - noise.mean(dim=0))
        latent = (count - 1) ** 0.5 * (white * sd) @ vectors.T
        return DenoisingErrors.centred(latent.reshape(count, *SHAPE), latent @ self.operator.T)


class _Flat(GaussianDenoiser):
    """Lets the flat Gaussian denoiser see states of `SHAPE`."""

    def __init__(self, inner: GaussianDenoiser) -> None:
        super().__init__(inner.mean, inner.cov, inner.schedule)
        self.inner = inner

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor):
        posterior = self.inner(x_t.flatten(1), t)
        posterior.mean = posterior.mean.reshape(x_t.shape)
        return posterior


def gaussian_problem(error: float = 0.3) -> GaussianProblem:
    """Makes a dense, correlated problem of 48 components, a third of them observed.

    Args:
        error: Standard deviation of the observation error; the prior's is about 1.
    """
    draw = torch.Generator().manual_seed(11)
    size = torch.Size(SHAPE).numel()
    points = torch.rand(size, 2, generator=draw, dtype=torch.float64)
    covariance = torch.exp(-torch.cdist(points, points) / 0.3)
    scale = 0.6 + torch.rand(size, generator=draw, dtype=torch.float64)
    covariance = scale[:, None] * covariance * scale
    operator = torch.zeros(size // 3, size, dtype=torch.float64)
    operator[torch.arange(size // 3), torch.arange(0, size, 3)] = 1.0
    # One observation sees a mean of four components, as a footprint does.
    operator[0, :4] = 0.25
    mean = torch.randn(size, generator=draw, dtype=torch.float64)
    truth = mean + torch.linalg.cholesky(covariance) @ torch.randn(
        size, generator=draw, dtype=torch.float64
    )
    noise = error * torch.randn(size // 3, generator=draw, dtype=torch.float64)
    return GaussianProblem(
        mean=mean,
        covariance=covariance,
        operator=operator,
        variance=torch.full((size // 3,), error**2, dtype=torch.float64),
        y=operator @ truth + noise,
    )
