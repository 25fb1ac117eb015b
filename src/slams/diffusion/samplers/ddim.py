"""DDIM: the probability flow by Euler steps, deterministic."""

from __future__ import annotations

from slams.diffusion.backend import EulerSampler, Sampler
from slams.diffusion.sampling import SamplerProblem
from slams.plugins.samplers import SamplerSpec

__all__ = ["SPEC"]


def _build(problem: SamplerProblem) -> Sampler:
    return EulerSampler(problem.denoiser, **problem.grid)


SPEC = SamplerSpec("ddim", _build)
