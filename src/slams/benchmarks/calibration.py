"""Ensembles of one guidance and one sampler, measured against the Gaussian posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace

from slams.benchmarks.gaussian import GaussianProblem
from slams.benchmarks.guided import MEMBERS, guide, noise_of
from slams.diffusion.sampling import sample
from slams.diffusion.settings import SamplerSettings

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True)
class Calibration:
    """Distance of an ensemble from the posterior.

    Attributes:
        mean_error: Error of the ensemble mean in posterior standard deviations, root mean square
            over the fields.
        observed: Ensemble over posterior standard deviation, mean over the observed fields.
        unobserved: The same, mean over the other fields.
        diverged: Number of members that had to be drawn again.
    """

    mean_error: float
    observed: float
    unobserved: float
    diverged: int


def calibrate(
    problem: GaussianProblem,
    kind: str,
    sampler: SamplerSettings,
    members: int = MEMBERS,
    iterations: int | None = None,
) -> Calibration:
    """Sample an ensemble and compare it with the posterior (with the prior for `none`).

    Args:
        problem: The problem.
        kind: As in `slams.benchmarks.guided.guide`.
        sampler: The sampler.
        members: Size of the ensemble.
        iterations: Iterations of the guidance's solver; `None` to run it to convergence.

    Raises:
        DivergedError: A member diverged every time it was drawn.
    """
    draw = noise_of(problem.shape, members)
    sampler = replace(sampler, centred=False)  # independent samples, of known Monte-Carlo error
    samples = sample(guide(problem, kind, sampler, iterations), sampler, draw, members)
    fields = problem.decode(samples.members)
    mean, covariance = problem.prior if kind == "none" else problem.posterior
    sd = covariance.diagonal().sqrt()
    ratio = fields.std(dim=0) / sd
    observed = problem.observed
    return Calibration(
        mean_error=float(((fields.mean(dim=0) - mean) / sd).square().mean().sqrt()),
        observed=float(ratio[observed].mean()),
        unobserved=float(ratio[~observed].mean()),
        diverged=samples.diverged,
    )
