"""Perturbations of observations, per member."""

from __future__ import annotations

from torch import Tensor

from slams.observations.stacked import StackedObservations
from slams.runtime.seeds import member_noise

__all__ = ["observation_noise"]


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
