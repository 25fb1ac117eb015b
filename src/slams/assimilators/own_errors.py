r"""Errors of a cycle's own backgrounds, from which its covariances are estimated.

A cycle's background is a damped analysis, not a damped true state: its errors are larger, and have
other correlations. With the analyses x_a of a cycle over training days and the truth of the days
after them, the damping is the regression of the truth on the analysis, pooled over the longitudes
of a row,

    a = sum x(t + 1) x_a(t) / sum x_a(t)^2,      e(t + 1) = x(t + 1) - a x_a(t),

and the mean square of e is the variance of the background. `E[x | x_a] = x_a` is thus not assumed.

*Out of sample.* The analyses are made with gains from errors of the whole training period. Fitted
to the cycle's days are one damping per row and channel, one variance per point and, at a date,
covariances of days that are not near it (`slams.assimilators.season`).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slams.assimilators.base import Archive

__all__ = ["OwnErrors", "own_errors"]


@dataclass(frozen=True)
class OwnErrors:
    """Damping and errors of the backgrounds of a cycle.

    Attributes:
        coefficient: `(C, H, W)` damping `a` of one day.
        variance: `(C, H, W)` normalised mean square of the errors.
        archive: Truths and backgrounds of the cycle's days.
    """

    coefficient: Tensor
    variance: Tensor
    archive: Archive


def own_errors(analyses: Tensor, truths: Tensor, time: Tensor) -> OwnErrors:
    """Fit the damping, and return the errors of the backgrounds.

    Args:
        analyses: `(N, C, H, W)` normalised analysis means.
        truths: `(N, C, H, W)` normalised true states of the days after them.
        time: `(N,)` these days, days since 1970-01-01 00 UTC.
    """
    square = analyses.square().sum(dim=(0, -1))
    slope = (analyses * truths).sum(dim=(0, -1)) / square.clamp(min=1e-12)
    coefficient = slope.clamp(0, 1)[..., None].expand(analyses.shape[1:]).contiguous()
    backgrounds = coefficient * analyses
    variance = (truths - backgrounds).square().mean(dim=0)
    archive = Archive(truths[:, None], backgrounds[:, None], time[:, None])
    return OwnErrors(coefficient, variance, archive)
