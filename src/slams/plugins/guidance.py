"""Kinds of guidance: how observations enter the reverse diffusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slams.plugins.registry import Registry

__all__ = ["GUIDANCE", "GuidanceSpec"]


@dataclass(frozen=True)
class GuidanceSpec:
    """Specification of a kind of guidance.

    Attributes:
        name: Name in recipes (`assimilation.guidance.kind`).
        build: Function that builds the guided denoiser of one case: takes a
            `slams.diffusion.posterior.problem.GuidanceProblem`, returns a `Denoiser`.
        uses_jacobian: Whether it differentiates the network: it then guides only below the noise
            level `below_sigma`, and the network is evaluated in full precision.
        uses_errors: Whether it needs `GuidanceProblem.errors`, the denoising errors of archive
            days, which take time to measure.
        build_latent: Like `build`, where observations are compared with latents
            (`assimilation.guidance.likelihood: latent`): takes the problem and a
            `LatentObservation`. `None` where `build` serves for both.
    """

    name: str
    build: Callable[[Any], Any]
    uses_jacobian: bool = True
    uses_errors: bool = False
    build_latent: Callable[[Any, Any], Any] | None = None


GUIDANCE = Registry("kind of guidance", GuidanceSpec, "slams.guidance", "slams.diffusion.guidance")
