"""Guidance by name for every known problem, and noise that all methods share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser
from slams.diffusion.posterior.errors import DenoisingErrors, ErrorCovariance
from slams.diffusion.posterior.guided import guided_denoiser
from slams.diffusion.posterior.problem import GuidanceProblem
from slams.diffusion.sampling import Samples, noise_levels, sample
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.linalg.gain import Gain
from slams.plugins.guidance import GUIDANCE
from slams.runtime.seeds import generator

__all__ = ["MEAN_BAND", "MEMBERS", "SD_BAND", "KnownProblem", "guide", "noise_of"]

# The Monte-Carlo error of a mean is 1 / sqrt(MEMBERS) = 0.022 standard deviations.
MEMBERS = 2000
# Tolerances of the default guidance and sampler: error of the mean in posterior standard
# deviations, and distance of the ratio of standard deviations from one.
MEAN_BAND, SD_BAND = 0.05, 0.05


@dataclass(frozen=True, kw_only=True)
class KnownProblem(ABC):
    """A prior with its exact denoiser, and observations `y = A(z) + e`, `e ~ N(0, R)`.

    Attributes:
        shape: `(T, K, h, w)` of a latent, `D` numbers.
        operator: `H`, one row for each of the `P` observations.
        variance: `(P,)` diagonal of `R`.
        y: `(P,)`.
    """

    shape: tuple[int, ...]
    operator: Tensor
    variance: Tensor
    y: Tensor

    @property
    @abstractmethod
    def denoiser(self) -> Denoiser:
        """Return the exact denoiser of the prior, of `(M, *shape)`."""

    @property
    def total_variance(self) -> Tensor:
        """Return the diagonal of `R` with the decoder's error where there is one, `(P,)`."""
        return self.variance

    @property
    def scale(self) -> Tensor:
        """Return the change of an observation when every field changes by one, `(P,)`."""
        return self.operator.sum(dim=1)

    @abstractmethod
    def observe(self, latents: Tensor) -> Tensor:
        """Map `(M, *shape)` to `(M, P)`."""

    @abstractmethod
    def errors(self, sigma: Tensor) -> DenoisingErrors:
        """Return denoising errors at a noise level `()`, with the decoder's where observed."""

    def sample(self, denoiser: Denoiser, sampler: SamplerSettings, members: int) -> Samples:
        """Draw independent members, whose Monte-Carlo error is known.

        Args:
            denoiser: Denoiser of the posterior, as from `guide`.
            sampler: The sampler.
            members: Number of members; their noise is the same for every denoiser.

        Raises:
            DivergedError: A member diverged every time it was drawn.
        """
        sampler = replace(sampler, centred=False)
        return sample(denoiser, sampler, noise_of(self.shape, members), members)


def guide(
    problem: KnownProblem, kind: str, sampler: SamplerSettings, iterations: int | None = None
) -> Denoiser:
    """Build the denoiser of the posterior under one kind of guidance.

    Args:
        problem: The problem.
        kind: `none` (the prior), or as `assimilation.guidance.kind`; parameters have their
            defaults, and guidance is never switched off.
        sampler: The sampler, whose noise levels are those of the denoising errors.
        iterations: Iterations of solvers; `None` to run them to convergence.
    """
    if kind == "none":
        return problem.denoiser
    count = len(problem.y)
    covariance = None
    if GUIDANCE.get(kind, "assimilation.guidance.kind").uses_errors:
        levels = noise_levels(sampler).double()
        points = math.prod(problem.shape[2:])
        covariance = ErrorCovariance(
            levels,
            [problem.errors(sigma) for sigma in levels],
            columns=torch.arange(count),
            gain=Gain.unlocalised(points, torch.zeros(count, dtype=torch.bool)),
        )
    return guided_denoiser(
        GuidanceProblem(
            GuidanceSettings(kind=kind, iterations=iterations or count, below_sigma=math.inf),
            problem.denoiser,
            problem.observe,
            problem.y,
            problem.variance,
            problem.total_variance,
            problem.scale,
            covariance=covariance,
        )
    )


@cache
def noise_of(shape: tuple[int, ...], members: int) -> Callable[[int, str], Tensor]:
    """Return the noise `(*shape)` of a member and a stream's name: the same for every method."""

    @cache
    def stream_of(stream: str) -> Tensor:
        keyed = generator(0, "bench posterior", stream)
        return torch.randn(members, *shape, generator=keyed, dtype=torch.float64)

    return lambda member, stream: stream_of(stream)[member]
