r"""Scale of denoising errors on days that the network was not trained on.

A network denoises the days on which it was trained better than new ones. Covariances of its errors
on these days would give the prior too much weight, most of all at high noise, where the network
has memorised what the noise hides. The errors of the archive are therefore enlarged, per latent
channel and noise level, by

    scale^2 = mean square on validation days / mean square on training days of the same season.

The correlations of the errors are those on the archive's days, which are many; only their size
comes from the validation period, never from the test period. The ratio changes slowly with the
noise level, so that it is measured at a few levels and interpolated in the logarithm of the level.
The checkpoint was also chosen on the validation period, but the remaining bias is small.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.assimilators.season import season_counts

__all__ = ["error_scale", "interpolated", "measured_levels"]

# Noise levels at which the scale is measured.
_LEVELS = 6
# Largest distance (days) between the days of year of a validation day and an archive day.
_SEASON = 15.0


def measured_levels(count: int) -> list[int]:
    """Return the indices, out of `count` noise levels, at which the scale is measured."""
    return torch.linspace(0, count - 1, min(_LEVELS, count)).round().long().unique().tolist()


def error_scale(seen: Tensor, seen_time: Tensor, unseen: Tensor, unseen_time: Tensor) -> Tensor:
    """Compare denoising errors of two sets of days at one noise level.

    Args:
        seen: `(N, K)` mean squared error of each archive day and latent channel.
        seen_time: `(N,)` days since 1970-01-01 00 UTC.
        unseen: `(n, K)` the same of validation days.
        unseen_time: `(n,)`.

    Returns:
        `(K,)` factor on the errors of archive days.
    """
    counts = season_counts(seen_time, unseen_time, _SEASON).to(seen)
    known = (counts @ seen) / counts.sum()
    # A channel without errors is not scaled.
    return torch.where(known > 0, unseen.mean(dim=0) / known, 1.0).sqrt()


def interpolated(measured: Tensor, at: list[int], levels: Tensor) -> Tensor:
    """Interpolate scales between noise levels.

    Args:
        measured: `(A, K)` scales at some of the levels.
        at: Indices of these levels, increasing.
        levels: `(L,)` all noise levels.

    Returns:
        `(L, K)`.
    """
    place = levels.to(measured).log()
    rows = []
    for value in place:
        known = place[at]
        right = int((known > value).sum()) if known[0] > known[-1] else int((known < value).sum())
        right = min(max(right, 1), len(at) - 1) if len(at) > 1 else 0
        left = max(right - 1, 0)
        width = known[right] - known[left]
        share = (value - known[left]) / width if width != 0 else torch.zeros_like(value)
        rows.append(torch.lerp(measured[left], measured[right], share))
    return torch.stack(rows)
