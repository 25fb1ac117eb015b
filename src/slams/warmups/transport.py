"""The earth mover's distance of two sets of trajectories (Wasserstein-1, Euclidean cost)."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

__all__ = ["wasserstein"]


def wasserstein(x: Tensor, y: Tensor) -> float:
    """Compute the least mean distance over all pairings of two sets of equal size.

    Between sets of equal size and weight an optimal transport plan is a pairing, so that this is
    the exact Wasserstein-1 distance of the two sets. For two sets drawn from one distribution it
    is *not* zero, and it decreases slowly with their size: compare the result with such a floor.

    Args:
        x: `(N, ...)`.
        y: `(N, ...)`.

    Returns:
        The mean Euclidean distance of the pairs, with all axes but the first as one vector.

    Raises:
        ValueError: The sets do not have the same size.
    """
    if len(x) != len(y):
        raise ValueError(f"found sets of {len(x)} and {len(y)}, expected equal sizes")
    cost = torch.cdist(x.double().flatten(1), y.double().flatten(1)).numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())
