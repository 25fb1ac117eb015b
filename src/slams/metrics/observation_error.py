r"""Verification of ensembles against observations with errors.

An observation `y = H x + e`, `e ~ N(0, R)`, is a draw from the members' distribution only if the
same error is added to the members (Hamill 2001; Saetra et al. 2004). Therefore `y` is ranked among
the members `H x_i + e_i`, `e_i ~ N(0, R)`. The continuous ranked probability score needs no draws:
with `A(d, v) = E|d + sqrt(v) n|`, `n ~ N(0, 1)`, the expectation of its fair estimator over all
errors `e_i` is

    crps = sum_i A(H x_i - y, R) / M - sum_{i<j} A(H x_i - H x_j, 2 R) / (M (M - 1)).

For centred ensembles (`slams.metrics.centred`) the first sum uses members with the scatter of free
ones, and the observation is ranked after its distance from the mean is enlarged by
`sqrt(1 + s^2 / (M (s^2 + R)))` with `s^2` the members' variance, because the errors `e_i` are not
centred.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slams.metrics.centred import scaled_about_mean

__all__ = ["crps_with_error", "rank_with_error"]


def crps_with_error(
    members: Tensor, values: Tensor, variance: Tensor, centred: bool = False
) -> Tensor:
    """Compute the CRPS of an ensemble against observations, see the module.

    Args:
        members: `(M, P)` observed members, at least two.
        values: `(P,)` observations.
        variance: `(P,)` error variance `R`.
        centred: Whether the members are centred on the analysis.

    Returns:
        `(P,)` in the observations' units.
    """
    count = members.shape[0]
    scatter = math.sqrt(count / (count - 1))
    single = scaled_about_mean(members, scatter) if centred else members
    far = _mean_distance(single - values, variance).mean(dim=0)
    near = torch.zeros_like(far)
    # One row of pairs at a time: all pairs at once would need M times the memory.
    for i in range(count - 1):
        near += _mean_distance(members[i + 1 :] - members[i], 2 * variance).sum(dim=0)
    return far - near / (count * (count - 1))


def rank_with_error(
    members: Tensor, values: Tensor, variance: Tensor, noise: Tensor, centred: bool = False
) -> Tensor:
    """Count the members below each observation after its error is added to them.

    Args:
        members: `(M, P)` observed members.
        values: `(P,)` observations.
        variance: `(P,)` error variance `R`.
        noise: `(M, P)` standard normal.
        centred: Whether the members are centred on the analysis.

    Returns:
        `(P,)` int64 in 0 .. M.
    """
    if centred:
        mean, spread = members.mean(dim=0), members.var(dim=0, correction=1)
        share = torch.where(spread > 0, spread / (spread + variance), 0.0)
        values = mean + (1 + share / members.shape[0]).sqrt() * (values - mean)
    return (members + variance.sqrt() * noise < values).sum(dim=0)


def _mean_distance(d: Tensor, v: Tensor) -> Tensor:
    s = v.sqrt()
    z = d / s
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return 2 * s * density + d * torch.erf(z / math.sqrt(2))
