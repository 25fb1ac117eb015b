r"""Corrections of scores for ensembles whose members were shifted to have the analysis as mean.

The members of a *free* ensemble are draws `x_i = a + p_i` from the analysis distribution, with
mean `a` and independent `p_i` of variance `s^2`. Those of a *centred* ensemble are shifted so that
their mean is the analysis, `x_i = a + p_i - mean(p)`, so that an analysis does not lose skill
through the randomness of a few draws. For `M` centred members,

    Var(x_i - a)   = s^2 (1 - 1 / M)      too small
    Var(x_i - x_j) = 2 s^2                as for free members; so is the variance with ddof = 1
    Var(mean - a)  = 0                    instead of s^2 / M for free members

so that a score which compares single members with the truth must use members with the scatter of
free ones,

    x'_i = a + sqrt(M / (M - 1)) (x_i - a),

which are exactly `N(a, s^2)` if the analysis distribution is normal, and a score which compares
the mean with the truth must not assume `s^2 / M` in it. A rank compares all members with the truth
at
once: it is the rank of the truth after its distance from the mean is enlarged by
`sqrt(1 + 1 / M)`, or of the truth among members whose distances are reduced by this factor.

An ensemble is centred in the units in which it is Gaussian (`slams.normalisation.TRANSFORMS`), and
is shifted in them; members at the lower end of a transform (dry ones) are not changed.
"""

from __future__ import annotations

import math

from torch import Tensor

from slams.normalisation import Transform

__all__ = ["mean_error_share", "scaled_about_mean", "with_free_ranks", "with_free_scatter"]


def mean_error_share(members: int, centred: bool) -> float:
    """Return the ratio of the variance of `truth - mean` to that of the members if reliable.

    Args:
        members: Number of members `M`.
        centred: Whether the members were shifted so that their mean is the analysis.
    """
    return 1.0 if centred else 1 + 1 / members


def with_free_scatter(members: Tensor, transform: Transform) -> Tensor:
    """Return centred members `(M, ...)` with the distances from their mean of free members.

    Args:
        members: Physical.
        transform: Transform to the units in which they were centred.
    """
    count = members.shape[0]
    return _transformed(members, math.sqrt(count / (count - 1)), transform)


def with_free_ranks(members: Tensor, transform: Transform) -> Tensor:
    """Return centred members `(M, ...)` among which the truth has its rank among free members.

    Args:
        members: Physical.
        transform: Transform to the units in which they were centred.
    """
    count = members.shape[0]
    return _transformed(members, math.sqrt(count / (count + 1)), transform)


def scaled_about_mean(members: Tensor, factor: float) -> Tensor:
    """Return members `(M, ...)` with their distances from the mean multiplied by a factor."""
    mean = members.mean(dim=0, keepdim=True)
    return mean + factor * (members - mean)


def _transformed(members: Tensor, factor: float, transform: Transform) -> Tensor:
    scaled = transform.inverse(scaled_about_mean(transform.forward(members), factor))
    if transform.forward is transform.inverse:
        return scaled
    # Values clipped at the lower end have no distance from the mean that could be scaled.
    return scaled.where(members > 0, members)
