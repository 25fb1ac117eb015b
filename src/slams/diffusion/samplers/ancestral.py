"""Ancestral sampling: each step draws from the reverse kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from slams.diffusion.backend import Sampler
from slams.diffusion.sampling import SamplerProblem
from slams.plugins.samplers import SamplerSpec

__all__ = ["SPEC", "AncestralSampler"]


class AncestralSampler(Sampler):
    """Sampler that draws `x_s` from the exact reverse kernel of a Gaussian (Ho et al. 2020).

    Args:
        problem: The (guided) denoiser, noise levels and noise.
    """

    def __init__(self, problem: SamplerProblem) -> None:
        super().__init__(**problem.grid)
        self.denoiser = problem.denoiser
        self.noise = problem.noise
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


SPEC = SamplerSpec("ancestral", AncestralSampler)
