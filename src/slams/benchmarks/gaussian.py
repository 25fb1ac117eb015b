r"""A Gaussian prior with its exact denoiser, and the posterior that samplers must reproduce.

Latents `z ~ N(m, B)` are decoded by a matrix, `f = W z + e_dec`, `e_dec ~ N(0, c I)`, and
observed, `y = H f + e`, `e ~ N(0, R)`. With `G = H W` and `R' = R + c H H^T`,

    S = G B G^T + R',    mean = m + B G^T S^-1 (y - G m),    covariance = B - B G^T S^-1 G B,
    Cov(z | z_t) = (B^-1 + sigma_t^-2)^-1.

The decoded analysis, `W z`, is compared. Without a decoder `W = I` and `c = 0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from slams.benchmarks.guided import MEMBERS, KnownProblem, guide
from slams.diffusion.backend import Denoiser, DiracPosterior, VESchedule
from slams.diffusion.posterior.errors import DenoisingErrors
from slams.diffusion.settings import SamplerSettings

__all__ = [
    "UNITS",
    "Calibration",
    "GaussianProblem",
    "calibrate",
    "dense_problem",
    "in_units",
    "linear_decoder_problem",
    "mixed_units_problem",
]

# One standard deviation of a field in the units of three instruments, taken in turn: about those
# of temperature (K), log precipitation and longwave radiation (W m-2).
UNITS = (1.0, 0.3, 20.0)


class _ExactDenoiser(Denoiser):
    """Exact denoiser `E[z | z_t]` of a Gaussian, `(M, *shape)`."""

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        super().__init__()
        self.schedule = VESchedule(sigma_min=1e-2, sigma_max=1e2)
        self.mean = mean
        self.values, self.vectors = torch.linalg.eigh(covariance)

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        _, sigma_t = self.schedule(t)
        shrink = self.values / (self.values + sigma_t**2)
        error = (x_t.flatten(1) - self.mean) @ self.vectors
        return DiracPosterior(
            mean=(self.mean + (error * shrink) @ self.vectors.T).reshape(x_t.shape)
        )


@dataclass(frozen=True, kw_only=True)
class GaussianProblem(KnownProblem):
    """Prior, decoder, observations and posterior: `D` latents, `F` fields, `P` observed.

    The rows of the operator `(P, F)` are orthogonal, so that `R'` is diagonal.

    Attributes:
        name: Name in the table.
        mean: `(D,)` `m`.
        covariance: `(D, D)` `B`.
        decoder: `(F, D)` `W`.
        decoder_variance: `c`.
    """

    name: str
    mean: Tensor
    covariance: Tensor
    decoder: Tensor
    decoder_variance: float

    @property
    def denoiser(self) -> Denoiser:
        """Return the exact denoiser of the prior, of `(M, *shape)`."""
        return _ExactDenoiser(self.mean, self.covariance)

    @property
    def total_variance(self) -> Tensor:
        """Return the diagonal of `R'`, `(P,)`."""
        return self.variance + self.decoder_variance * self.operator.square().sum(dim=1)

    @property
    def observed(self) -> Tensor:
        """Return which fields are observed, `(F,)` bool."""
        return self.operator.abs().sum(dim=0) > 0

    def decode(self, latents: Tensor) -> Tensor:
        """Map `(M, *shape)` to `(M, F)`."""
        return latents.flatten(1) @ self.decoder.T

    def observe(self, latents: Tensor) -> Tensor:
        """Map `(M, *shape)` to `(M, P)`."""
        return self.decode(latents) @ self.operator.T

    @property
    def prior(self) -> tuple[Tensor, Tensor]:
        """Return mean `(F,)` and covariance `(F, F)` of the decoded prior."""
        return self.decoder @ self.mean, self.decoder @ self.covariance @ self.decoder.T

    @property
    def posterior(self) -> tuple[Tensor, Tensor]:
        """Return mean `(F,)` and covariance `(F, F)` of the decoded posterior."""
        seen = self.operator @ self.decoder
        cross = self.covariance @ seen.T
        s = seen @ cross + torch.diag(self.total_variance)
        gain = torch.linalg.solve(s, cross.T).T
        mean = self.mean + gain @ (self.y - seen @ self.mean)
        covariance = self.covariance - gain @ cross.T
        return self.decoder @ mean, self.decoder @ covariance @ self.decoder.T

    def errors(self, sigma: Tensor, count: int = 400) -> DenoisingErrors:
        """Return denoising errors of latents, and as observed, with the decoder's error.

        Their sample covariance is exact, so that only the guidance is tested.

        Args:
            sigma: `()` noise level.
            count: Number of errors, more than `D + F`.
        """
        values, vectors = torch.linalg.eigh(self.covariance)
        sd = (1 / (1 / values + 1 / sigma**2)).sqrt()
        size, fields = len(values), len(self.decoder)
        draw = torch.Generator().manual_seed(3)
        noise = torch.randn(count, size + fields, generator=draw, dtype=values.dtype)
        white, _ = torch.linalg.qr(noise - noise.mean(dim=0))
        white = (count - 1) ** 0.5 * white
        latent = (white[:, :size] * sd) @ vectors.T
        field = latent @ self.decoder.T + self.decoder_variance**0.5 * white[:, size:]
        return DenoisingErrors.centred(latent.reshape(count, *self.shape), field @ self.operator.T)


def dense_problem(error: float) -> GaussianProblem:
    """Return a dense, correlated problem of 48 components, a third of them observed.

    Args:
        error: Standard deviation of the observation error; the prior's is about one.
    """
    return _problem("dense", (1, 2, 4, 6), 48, 0.0, error)


def linear_decoder_problem(error: float) -> GaussianProblem:
    """Return a problem of 24 correlated latents, decoded to 48 fields with an error.

    Args:
        error: Standard deviation of the observation error; the prior's is about one.
    """
    return _problem("linear decoder", (1, 4, 2, 3), 48, 0.01, error)


def mixed_units_problem(error: float) -> GaussianProblem:
    """Return the dense problem as reported by three instruments, each in its own units.

    The posterior is that of `dense_problem`: only the numerical values of the observations
    differ.

    Args:
        error: Standard deviation of the observation error, in units of the state.
    """
    return in_units(replace(dense_problem(error), name="mixed units"), UNITS)


def in_units(problem: GaussianProblem, units: Sequence[float]) -> GaussianProblem:
    """Return a problem with its observations in other units.

    Args:
        problem: The problem.
        units: Factors on the observations, taken in turn.
    """
    factor = torch.tensor(units, dtype=torch.float64)[torch.arange(len(problem.y)) % len(units)]
    return replace(
        problem,
        operator=factor[:, None] * problem.operator,
        variance=factor.square() * problem.variance,
        y=factor * problem.y,
    )


def _problem(
    name: str, shape: tuple[int, ...], fields: int, decoder_variance: float, error: float
) -> GaussianProblem:
    draw = torch.Generator().manual_seed(11)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=draw, dtype=torch.float64)

    size = torch.Size(shape).numel()
    points = torch.rand(size, 2, generator=draw, dtype=torch.float64)
    scale = 0.6 + torch.rand(size, generator=draw, dtype=torch.float64)
    correlation = torch.exp(-torch.cdist(points, points) / 0.3)
    covariance = scale[:, None] * correlation * scale
    decoder = torch.eye(size, dtype=torch.float64)
    if fields != size:
        mixture = normal(fields, size)
        decoder = mixture / (mixture @ covariance * mixture).sum(dim=1, keepdim=True).sqrt()
    operator = torch.zeros(fields // 3, fields, dtype=torch.float64)
    operator[torch.arange(fields // 3), torch.arange(0, fields, 3)] = 1.0
    # One observation is a mean of four components, as in a footprint.
    operator[0, [0, 1, 2, 4]] = 0.25
    mean = normal(size)
    truth = decoder @ (mean + torch.linalg.cholesky(covariance) @ normal(size))
    truth = truth + decoder_variance**0.5 * normal(fields)
    return GaussianProblem(
        name=name,
        shape=shape,
        mean=mean,
        covariance=covariance,
        decoder=decoder,
        decoder_variance=decoder_variance,
        operator=operator,
        variance=torch.full((fields // 3,), error**2, dtype=torch.float64),
        y=operator @ truth + error * normal(fields // 3),
    )


@dataclass(frozen=True)
class Calibration:
    """Distance of an ensemble from the posterior.

    Attributes:
        mean_error: Error of the ensemble mean in posterior standard deviations, root mean square
            over the fields.
        observed: Ensemble over posterior standard deviation, mean over the observed fields.
        unobserved: The same, mean over the other fields.
        diverged: Number of members that had to be drawn again.
    """

    mean_error: float
    observed: float
    unobserved: float
    diverged: int


def calibrate(
    problem: GaussianProblem,
    kind: str,
    sampler: SamplerSettings,
    members: int = MEMBERS,
    iterations: int | None = None,
) -> Calibration:
    """Sample an ensemble and compare it with the posterior (with the prior for `none`).

    Args:
        problem: The problem.
        kind: As in `slams.benchmarks.guided.guide`.
        sampler: The sampler.
        members: Size of the ensemble.
        iterations: Iterations of the guidance's solver; `None` to run it to convergence.

    Raises:
        DivergedError: A member diverged every time it was drawn.
    """
    samples = problem.sample(guide(problem, kind, sampler, iterations), sampler, members)
    fields = problem.decode(samples.members)
    mean, covariance = problem.prior if kind == "none" else problem.posterior
    sd = covariance.diagonal().sqrt()
    ratio = fields.std(dim=0) / sd
    observed = problem.observed
    return Calibration(
        mean_error=float(((fields.mean(dim=0) - mean) / sd).square().mean().sqrt()),
        observed=float(ratio[observed].mean()),
        unobserved=float(ratio[~observed].mean()),
        diverged=samples.diverged,
    )
