r"""Backgrounds of the training period with the errors that they have when based on analyses.

A background by persistence of the *true* state is better than that of a cycle, which persists an
analysis. The error of an optimal analysis `x_a` is uncorrelated with the analysis,
`E[x | x_a] = x_a`. With normalised anomalies `x` of variance one and error variance `v`, such a
state can be made from the truth and an unrelated day `x'` of the season,

    x_a = (1 - v) x + sqrt(v (1 - v)) x',    Var x_a = Cov(x, x_a) = 1 - v,    Var(x - x_a) = v,

whose errors are correlated in space and between channels as the weather is. Damped persistence is
linear, so that the same mixture of the backgrounds of two days is the background that persists
from `x_a`; its coefficient is that of the truth, because the error of `x_a` cannot be inferred
from it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.windows import LazyWindows

__all__ = ["degrade", "mixed", "unrelated_days"]

# Distance to the unrelated day: one year, so that the season is the same.
_YEAR = 365.0


def degrade(archive: Archive, variance: float) -> Archive:
    """Replace the archive's backgrounds by those that persist from analyses with an error.

    Args:
        archive: Windows with backgrounds that persist from the truth.
        variance: Error variance `v` of these analyses, normalised, in [0, 1).

    Returns:
        The archive with other backgrounds, or the same archive if `v` is 0. The unrelated day is
        the one in the archive that is closest to a year away.
    """
    if variance == 0:
        return archive
    unrelated = unrelated_days(archive.time[:, 0])
    windows = _Mixed(archive.background, unrelated, variance)
    if isinstance(archive.background, LazyWindows):
        return replace(archive, background=windows)
    return replace(archive, background=windows.dense())


def unrelated_days(first: Tensor) -> Tensor:
    """Return for each window the one closest to a year away, `(N,)` int64.

    Args:
        first: `(N,)` first days of the windows, days since 1970-01-01 00 UTC.
    """
    nearest = [int(((first - day).abs() - _YEAR).abs().argmin()) for day in first]
    return torch.tensor(nearest, dtype=torch.int64)


def mixed(background: Tensor, unrelated: Tensor, variance: float) -> Tensor:
    """Return the background that persists from an analysis.

    Args:
        background: Background that persists from the truth.
        unrelated: That of an unrelated day.
        variance: Error variance `v` of the analysis, see `degrade`.
    """
    weight = (variance * (1 - variance)) ** 0.5
    return (1 - variance) * background + weight * unrelated


class _Mixed(LazyWindows):
    """Backgrounds mixed with those of unrelated days."""

    def __init__(
        self, background: Tensor | LazyWindows, unrelated: Tensor, variance: float
    ) -> None:
        super().__init__(background.shape)
        self._background, self._unrelated, self._variance = background, unrelated, variance

    def read(self, positions: Tensor) -> Tensor:
        other = self._background[self._unrelated[positions]]
        return mixed(self._background[positions], other, self._variance)
