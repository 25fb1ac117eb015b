r"""Ensembles whose mean is the analysis itself: what makes up for having moved the members.

The members of a *free* ensemble are draws `x_i = a + p_i` of the analysis distribution, with
mean `a` and independent `p_i` of variance `s^2`. Those of a *centred* one are moved so that their
mean is the analysis, `x_i = a + p_i - mean(p)`: an analysis should not lose skill to the chance of
a few draws. Of `M` centred members,

    Var(x_i - a)   = s^2 (1 - 1 / M)      too little
    Var(x_i - x_j) = 2 s^2                as of free ones, and so is the variance with ddof = 1
    Var(mean - a)  = 0                    where free ones have s^2 / M

so that a score which compares single members with the truth has to be given members with the
scatter of free ones,

    x'_i = a + sqrt(M / (M - 1)) (x_i - a),

which are `N(a, s^2)` exactly where the analysis distribution is normal, and a score which
compares the mean with the truth must not expect `s^2 / M` in it. A rank compares all members with
the truth at once: it is that of the truth with its own distance from the mean enlarged by
`sqrt(1 + 1 / M)`, or of the truth among members that are as much nearer to the mean.

An ensemble is centred in the units in which it is Gaussian (`slams.normalisation.TRANSFORMS`), and
is moved in them; members at the lower end of a transform (dry ones) stay there.
"""

from __future__ import annotations

import math

from torch import Tensor

from slams.normalisation import Transform

__all__ = ["mean_error_share", "scaled_about_mean", "with_free_ranks", "with_free_scatter"]


def mean_error_share(members: int, centred: bool) -> float:
    """Return the variance of `truth - mean` of a reliable ensemble, over that of its members.

    Args:
        members: Number of members `M`.
        centred: The members were moved so that their mean is the analysis.
    """
    return 1.0 if centred else 1 + 1 / members


def with_free_scatter(members: Tensor, transform: Transform) -> Tensor:
    """Return centred members `(M, ...)` as far from their mean as free members are.

    Args:
        members: Physical.
        transform: To the units in which they were centred.
    """
    count = members.shape[0]
    return _transformed(members, math.sqrt(count / (count - 1)), transform)


def with_free_ranks(members: Tensor, transform: Transform) -> Tensor:
    """Return centred members `(M, ...)` among which the truth has the rank it has among free ones.

    Args:
        members: Physical.
        transform: To the units in which they were centred.
    """
    count = members.shape[0]
    return _transformed(members, math.sqrt(count / (count + 1)), transform)


def scaled_about_mean(members: Tensor, factor: float) -> Tensor:
    """Return members `(M, ...)` with their distance from the mean multiplied by a factor."""
    mean = members.mean(dim=0, keepdim=True)
    return mean + factor * (members - mean)


def _transformed(members: Tensor, factor: float, transform: Transform) -> Tensor:
    scaled = transform.inverse(scaled_about_mean(transform.forward(members), factor))
    if transform.forward is transform.inverse:
        return scaled
    # What was cut off at the lower end has no distance from the mean that could be scaled.
    return scaled.where(members > 0, members)
