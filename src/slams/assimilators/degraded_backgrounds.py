r"""Backgrounds of the training period as they are when they come from analyses.

A background by persistence of the *true* state is better than one of a cycle, which persists
from an analysis. An analysis `x_a` that makes the best of what it knows has an error that does
not correlate with itself, `E[x | x_a] = x_a`. With normalised anomalies `x` of variance one and
error variance `v`, such a state is made of the truth and of an unrelated day `x'` of the season,

    x_a = (1 - v) x + sqrt(v (1 - v)) x',    Var x_a = Cov(x, x_a) = 1 - v,    Var(x - x_a) = v,

whose errors belong together in space and between channels as the weather does. Damped
persistence is linear, so that the same mixture of two days' backgrounds is the background that
persists from `x_a`; its coefficient is that of the truth, since what `x_a` misses cannot be
known from it.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from slams.assimilators.base import Archive

__all__ = ["degrade"]

# Days to the unrelated day: the same season, a year apart.
_YEAR = 365.0


def degrade(archive: Archive, variance: float) -> Archive:
    """Let the archive's backgrounds come from analyses with an error.

    Args:
        archive: Windows with backgrounds that persist from the truth.
        variance: Error variance `v` of these analyses, normalised, in [0, 1).

    Returns:
        The archive with other backgrounds; for `v` of 0 the same. The unrelated day lies as
        close to a year away as the archive has one.
    """
    if variance == 0:
        return archive
    first = archive.time[:, 0]
    weight = (variance * (1 - variance)) ** 0.5
    mixed = torch.empty_like(archive.background)
    for i in range(len(first)):  # window by window: an archive may fill the memory
        j = int(((first - first[i]).abs() - _YEAR).abs().argmin())
        mixed[i] = (1 - variance) * archive.background[i] + weight * archive.background[j]
    return replace(archive, background=mixed)
