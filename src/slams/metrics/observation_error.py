r"""Ensembles judged by observations that have errors of their own.

An observation `y = H x + e`, `e ~ N(0, R)`, is a draw from the members' distribution only after
the members have been given the same error (Hamill 2001; Saetra et al. 2004). So members
`H x_i + e_i`, `e_i ~ N(0, R)`, are what `y` is ranked among. The continuous ranked probability
score needs no draws: with `A(d, v) = E|d + sqrt(v) n|`, `n ~ N(0, 1)`, its fair estimator has
the expectation over all errors `e_i`

    crps = sum_i A(H x_i - y, R) / M - sum_{i<j} A(H x_i - H x_j, 2 R) / (M (M - 1)).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["crps_with_error", "rank_with_error"]


def crps_with_error(members: Tensor, values: Tensor, variance: Tensor) -> Tensor:
    """Scores an ensemble by observations, see the module.

    Args:
        members: `(M, P)` observed members, at least two.
        values: `(P,)` observations.
        variance: `(P,)` error variance `R`.

    Returns:
        `(P,)` in the observations' units.
    """
    count = members.shape[0]
    far = _mean_distance(members - values, variance).mean(dim=0)
    near = torch.zeros_like(far)
    # Pair by pair in rows: all at once would take M times the memory.
    for i in range(count - 1):
        near += _mean_distance(members[i + 1 :] - members[i], 2 * variance).sum(dim=0)
    return far - near / (count * (count - 1))


def rank_with_error(members: Tensor, values: Tensor, variance: Tensor, noise: Tensor) -> Tensor:
    """Counts the members below each observation, once they have its error.

    Args:
        members: `(M, P)` observed members.
        values: `(P,)` observations.
        variance: `(P,)` error variance `R`.
        noise: `(M, P)` standard normal.

    Returns:
        `(P,)` int64 in 0 .. M.
    """
    return (members + variance.sqrt() * noise < values).sum(dim=0)


def _mean_distance(d: Tensor, v: Tensor) -> Tensor:
    s = v.sqrt()
    z = d / s
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return 2 * s * density + d * torch.erf(z / math.sqrt(2))
