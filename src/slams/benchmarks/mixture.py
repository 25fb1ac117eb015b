r"""A prior of two modes with its exact denoiser, and its posterior: a nonlinear known answer.

z ~ sum_k pi_k N(m_k, B), y = H z + e, e ~ N(0, R). With S = H B H^T + R, the posterior is

    sum_k w_k N(m_k + K (y - H m_k), B - K H B),    K = B H^T S^-1,
    w_k proportional to pi_k N(y | H m_k, S),

and the denoiser is exact as well: `E[z | z_t]` weights the denoised means of the modes by their
share in the density of `z_t`. The modes are far apart in the unobserved components and close in
the observed ones, so that guidance has to change the weights and not only the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from slams.benchmarks.guided import MEMBERS, KnownProblem, guide
from slams.diffusion.backend import Denoiser, DiracPosterior, VESchedule, time_of_sigma
from slams.diffusion.posterior.errors import DenoisingErrors
from slams.diffusion.settings import SamplerSettings

__all__ = ["MixtureProblem", "Modes", "mixture_problem", "modes_of"]


class _MixtureDenoiser(Denoiser):
    """Exact denoiser `E[z | z_t]` of a mixture of Gaussians, `(M, *shape)`."""

    def __init__(self, weights: Tensor, means: Tensor, covariance: Tensor) -> None:
        super().__init__()
        self.schedule = VESchedule(sigma_min=1e-2, sigma_max=1e2)
        self.weights, self.means, self.covariance = weights, means, covariance

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        _, sigma_t = self.schedule(t)
        total = self.covariance + sigma_t**2 * torch.eye(len(self.covariance)).to(x_t)
        shares = _shares(x_t.flatten(1), self.weights, self.means, total)
        error = x_t.flatten(1)[:, None] - self.means
        modes = self.means + error @ torch.linalg.solve(total, self.covariance)
        return DiracPosterior(mean=(shares[..., None] * modes).sum(dim=1).reshape(x_t.shape))


def _shares(x: Tensor, weights: Tensor, means: Tensor, covariance: Tensor) -> Tensor:
    """Return the share `(M, 2)` of each mode in the density at `x`, `(M, D)`."""
    density = MultivariateNormal(means, covariance, validate_args=False)
    return (weights.log() + density.log_prob(x[:, None])).softmax(dim=1)


@dataclass(frozen=True, kw_only=True)
class MixtureProblem(KnownProblem):
    """Prior, observations and posterior of `D` components, `P` of them observed.

    Attributes:
        weights: `(2,)` `pi`.
        means: `(2, D)` `m`.
        covariance: `(D, D)` `B`.
    """

    weights: Tensor
    means: Tensor
    covariance: Tensor

    @property
    def denoiser(self) -> Denoiser:
        """Return the exact denoiser of the prior."""
        return _MixtureDenoiser(self.weights, self.means, self.covariance)

    @property
    def posterior(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights `(2,)`, means `(2, D)` and covariance `(D, D)` of the posterior."""
        cross = self.covariance @ self.operator.T
        s = self.operator @ cross + torch.diag(self.variance)
        innovation = self.y - self.means @ self.operator.T
        gain = torch.linalg.solve(s, cross.T)
        weights = _shares(self.y[None], self.weights, self.means @ self.operator.T, s)[0]
        return weights, self.means + innovation @ gain, self.covariance - cross @ gain

    def observe(self, latents: Tensor) -> Tensor:
        """Map `(M, *shape)` to `(M, P)`."""
        return latents.flatten(1) @ self.operator.T

    def errors(self, sigma: Tensor, count: int = 4000) -> DenoisingErrors:
        """Draw denoising errors of the prior at a noise level `()`."""
        draw = torch.Generator().manual_seed(3)
        mode = torch.multinomial(self.weights, count, replacement=True, generator=draw)
        noise = torch.randn(2, count, len(self.covariance), generator=draw, dtype=torch.float64)
        z = self.means[mode] + noise[0] @ torch.linalg.cholesky(self.covariance).T
        z_t = (z + sigma * noise[1]).reshape(count, *self.shape)
        denoiser = self.denoiser
        error = z.reshape(z_t.shape) - denoiser(z_t, time_of_sigma(sigma, denoiser.schedule)).mean
        return DenoisingErrors.centred(error, self.observe(error))


def mixture_problem(error: float = 0.5) -> MixtureProblem:
    """Return a problem of two equally likely modes in six dimensions, two of them observed.

    Args:
        error: Standard deviation of the observation error; a mode's is 0.5.
    """
    centre = torch.tensor([0.35, -0.35, 1.2, -1.2, 1.2, 0.9], dtype=torch.float64)
    place = torch.arange(6, dtype=torch.float64)
    covariance = 0.25 * torch.exp(-(place[:, None] - place).abs() / 2)
    operator = torch.eye(6, dtype=torch.float64)[:2]
    return MixtureProblem(
        shape=(1, 1, 2, 3),
        weights=torch.tensor([0.5, 0.5], dtype=torch.float64),
        means=torch.stack([centre, -centre]),
        covariance=covariance,
        operator=operator,
        variance=torch.full((2,), error**2, dtype=torch.float64),
        y=torch.tensor([0.5, 0.1], dtype=torch.float64),
    )


@dataclass(frozen=True)
class Modes:
    """The two modes of an ensemble compared with those of the posterior.

    Attributes:
        weight: Share of the members in the first mode; the posterior's is `expected`.
        expected: The posterior's weight of the first mode.
        mean_error: Error of each mode's mean in the mode's posterior standard deviations, root
            mean square over the components; not a number where a mode is empty.
        sd_ratio: Ensemble over posterior standard deviation within each mode, mean over the
            components.
        diverged: Number of members that had to be drawn again.
    """

    weight: float
    expected: float
    mean_error: tuple[float, float]
    sd_ratio: tuple[float, float]
    diverged: int


def modes_of(
    problem: MixtureProblem, kind: str, sampler: SamplerSettings, members: int = MEMBERS
) -> Modes:
    """Sample an ensemble and compare its modes with the posterior's.

    Args:
        problem: The problem.
        kind: As in `slams.benchmarks.guided.guide`, or `exact`: the posterior's own denoiser.
        sampler: The sampler.
        members: Size of the ensemble.

    Raises:
        DivergedError: A member diverged every time it was drawn.
    """
    weights, means, covariance = problem.posterior
    exact = kind == "exact"
    denoiser = (
        _MixtureDenoiser(weights, means, covariance) if exact else guide(problem, kind, sampler)
    )
    samples = problem.sample(denoiser, sampler, members)
    states = samples.members.flatten(1)
    first = _shares(states, weights, means, covariance)[:, 0] > 0.5
    sd = covariance.diagonal().sqrt()
    errors, ratios = [], []
    for mode, chosen in enumerate((first, ~first)):
        part = states[chosen]
        errors.append(float(((part.mean(dim=0) - means[mode]) / sd).square().mean().sqrt()))
        ratios.append(float((part.std(dim=0) / sd).mean()))
    return Modes(
        weight=float(first.double().mean()),
        expected=float(weights[0]),
        mean_error=(errors[0], errors[1]),
        sd_ratio=(ratios[0], ratios[1]),
        diverged=samples.diverged,
    )
