"""Ridge regression from moments: one matrix of the largest set of predictors serves every subset.

With predictors `X (F, n)` and targets `Y (L, n)` of `n` samples, the moments are `Z Z^T` of
`Z = [X; Y]`. They add up over samples, and the regression on some of the predictors needs only
their rows and columns:

    W = (X X^T / n + lambda D)^-1 X Y^T / n,    |Y - W^T X|^2 = Y Y^T - 2 W^T X Y^T + W^T X X^T W,

where `D` is one for every predictor and zero for the constant. Products of single blocks are
float32, their sum is float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Moments", "choose_penalty", "fit"]


@dataclass(frozen=True)
class Moments:
    """Moments of samples.

    Attributes:
        matrix: `(F + L, F + L)` float64, sums of products of predictors and targets.
        targets: Number of targets `L`.
        count: Number of samples `n`.
    """

    matrix: Tensor
    targets: int
    count: int

    @classmethod
    def of(cls, values: Tensor, targets: int) -> Moments:
        """Return the moments of one block.

        Args:
            values: `(F + L, n)` predictors and targets.
            targets: Number of targets `L`.
        """
        return cls((values @ values.T).to(torch.float64), targets, values.shape[1])

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.matrix + other.matrix, self.targets, self.count + other.count)

    def select(self, index: Tensor) -> Moments:
        """Return the moments of some predictors, in the order given, and all targets."""
        size = len(self.matrix)
        kept = torch.cat([index, torch.arange(size - self.targets, size)])
        return Moments(self.matrix[kept][:, kept], self.targets, self.count)

    def error(self, weights: Tensor) -> Tensor:
        """Return the mean squared error `(L,)` of predictions with weights `(F, L)`."""
        full = torch.cat([weights, -torch.eye(self.targets, dtype=weights.dtype)])
        return ((self.matrix @ full) * full).sum(dim=0) / self.count


def fit(moments: Moments, penalty: float) -> Tensor | None:
    """Return the weights `(F, L)` of a ridge regression whose last predictor is a constant.

    Args:
        moments: Moments of the samples.
        penalty: `lambda`.

    Returns:
        The weights, or `None` where the penalty is too small for a positive definite matrix.
    """
    size = len(moments.matrix) - moments.targets
    matrix = moments.matrix[:size, :size] / moments.count
    penalties = torch.full((size,), penalty, dtype=torch.float64)
    penalties[-1] = 0.0
    factor, failed = torch.linalg.cholesky_ex(matrix + torch.diag(penalties))
    if failed:
        return None
    return torch.cholesky_solve(moments.matrix[:size, size:] / moments.count, factor)


def choose_penalty(seen: Moments, held_out: Moments, penalties: Sequence[float]) -> float:
    """Return the penalty whose regression on some samples has the smallest error on others."""
    errors = {}
    for penalty in sorted(penalties):
        weights = fit(seen, penalty)
        if weights is not None:
            errors[penalty] = float(held_out.error(weights).sum())
    return min(errors, key=errors.__getitem__) if errors else max(penalties)
