"""Samplers: how the reverse diffusion is integrated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slams.plugins.registry import Registry

__all__ = ["SAMPLERS", "SamplerSpec"]


@dataclass(frozen=True)
class SamplerSpec:
    """Specification of a sampler.

    Attributes:
        name: Name in recipes (`assimilation.sampler.kind`).
        build: Function that builds the sampler of one case: takes a
            `slams.diffusion.sampling.SamplerProblem`, returns a `Sampler`.
    """

    name: str
    build: Callable[[Any], Any]


SAMPLERS = Registry("sampler", SamplerSpec, "slams.samplers", "slams.diffusion.samplers")
