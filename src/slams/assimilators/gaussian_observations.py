"""Observations as Gaussian methods use them: without censoring, and perturbed per member."""

from __future__ import annotations

from torch import Tensor

from slams.linalg.censoring import equivalent_observations
from slams.linalg.localised_gain import innovation_covariance
from slams.observations.stacked import StackedObservations
from slams.runtime.seeds import member_noise

__all__ = ["gaussian_innovations", "observation_noise"]


def gaussian_innovations(
    images: Tensor, localisation: Tensor, innovation: Tensor, observations: StackedObservations
) -> tuple[Tensor, Tensor]:
    """Replace silent observations by Gaussian ones with the same effect on the prior.

    Args:
        images: `(n, P)` observed anomalies of the prior, centred.
        localisation: `(P, P)` between observations.
        innovation: `(P,)` observed values minus those predicted by the mean of the prior.
        observations: The active observations.

    Returns:
        Innovation and error variance, `(P,)` each; unchanged if there are no silent observations.
    """
    if not bool(observations.silent.any()):
        return innovation, observations.variance
    covariance = innovation_covariance(images, localisation, observations.variance)
    return equivalent_observations(
        covariance, innovation, observations.variance, observations.silent
    )


def observation_noise(
    observations: StackedObservations,
    days: int,
    seed: int,
    method: str,
    case: int,
    members: int,
    like: Tensor,
) -> Tensor:
    """Draw `(M, P)` standard normal numbers, with the type and the device of a tensor.

    Numbers are drawn for masked points too, so that those of a point do not depend on which other
    points are masked.

    Args:
        observations: The active observations.
        days: Number of days `T` in the window.
        seed: The experiment's seed.
        method: Name of the method; each has its own numbers.
        case: The case.
        members: Number of members `M`.
        like: The tensor.
    """
    points = sum(len(o.latitude) for o in observations.operators)
    noise = member_noise((days, points), seed, f"{method}/observations", case, range(members))
    return observations.select(noise.to(like))
