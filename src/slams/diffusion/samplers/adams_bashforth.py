"""Exponential Adams-Bashforth: deterministic, multistep; of order 2 it is DPM-Solver++ 2M."""

from __future__ import annotations

from slams.diffusion.backend import AdamsBashforthSampler, Sampler
from slams.diffusion.sampling import SamplerProblem
from slams.plugins.samplers import SamplerSpec

__all__ = ["SPEC"]


def _build(problem: SamplerProblem) -> Sampler:
    return AdamsBashforthSampler(problem.denoiser, order=problem.settings.order, **problem.grid)


SPEC = SamplerSpec("adams_bashforth", _build)
