"""Problems of known posterior, as each kind of guidance is given them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slams.benchmarks.guided import KnownProblem
from slams.diffusion.posterior.problem import GuidanceProblem
from slams.diffusion.settings import GuidanceSettings

__all__ = ["guidance_problem"]


def guidance_problem(
    known: KnownProblem, settings: GuidanceSettings | None = None, **changes: Any
) -> GuidanceProblem:
    """Return a problem with its own observations and errors, or with some of them replaced."""
    problem = GuidanceProblem(
        settings or GuidanceSettings(),
        known.denoiser,
        known.observe,
        known.y,
        known.variance,
        known.total_variance,
        known.scale,
    )
    return replace(problem, **changes)
