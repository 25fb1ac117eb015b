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

from slams.assimilators.base import Archive

__all__ = ["degrade"]

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
    first = archive.time[:, 0]
    weight = (variance * (1 - variance)) ** 0.5
    mixed = torch.empty_like(archive.background)
    for i in range(len(first)):  # window by window, because an archive may fill the memory
        j = int(((first - first[i]).abs() - _YEAR).abs().argmin())
        mixed[i] = (1 - variance) * archive.background[i] + weight * archive.background[j]
    return replace(archive, background=mixed)
