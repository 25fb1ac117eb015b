"""Ancestral sampling: each step draws from the reverse kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, Sampler
from slams.diffusion.sampling import SamplerProblem
from slams.plugins.samplers import SamplerSpec

__all__ = ["SPEC", "AncestralSampler"]


class AncestralSampler(Sampler):
    """Sampler that draws `x_s` from the exact reverse kernel of a Gaussian (Ho et al. 2020).

    Args:
        denoiser: The (guided) denoiser.
        noise: Function from the number of a step to its standard normal noise.
    """

    def __init__(
        self, denoiser: Denoiser, noise: Callable[[int], Tensor], **kwargs: float
    ) -> None:
        super().__init__(**kwargs)
        self.denoiser = denoiser
        self.noise = noise
        self._count = 0

    def step(self, x_t: Tensor, t: Tensor, s: Tensor, **kwargs: Tensor) -> Tensor:
        """Draw `x_s` given `x_t`, `(M, ...)` both."""
        _, sigma_t = self.denoiser.schedule(t)
        _, sigma_s = self.denoiser.schedule(s)
        kept = (sigma_s / sigma_t) ** 2
        mean = self.denoiser(x_t, t, **kwargs).mean
        noise = self.noise(self._count).to(x_t)
        self._count += 1
        return mean + kept * (x_t - mean) + sigma_s * torch.sqrt(1 - kept) * noise


def _build(problem: SamplerProblem) -> Sampler:
    return AncestralSampler(problem.denoiser, problem.noise, **problem.grid)


SPEC = SamplerSpec("ancestral", _build)
