"""Heun's method: second order, two evaluations of the denoiser per step."""

from __future__ import annotations

from slams.diffusion.backend import HeunSampler, Sampler
from slams.diffusion.sampling import SamplerProblem
from slams.plugins.samplers import SamplerSpec

__all__ = ["SPEC"]


def _build(problem: SamplerProblem) -> Sampler:
    return HeunSampler(problem.denoiser, **problem.grid)


SPEC = SamplerSpec("heun", _build)
