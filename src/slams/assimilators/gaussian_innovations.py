"""Censored observations for methods that accept only Gaussian ones."""

from __future__ import annotations

from torch import Tensor

from slams.linalg.censoring import equivalent_observations
from slams.linalg.localised_gain import innovation_covariance
from slams.observations.stacked import StackedObservations

__all__ = ["gaussian_innovations"]


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
