"""Observations simulated from a known truth: `y = H(f) + e`, `e ~ N(0, R)`, `R` diagonal.

With a bound `b`, `y = max(b, H(f) + e)`: a rain gauge never reports less than zero
(`slams.linalg.censoring`).

The noise of a day depends on the seed, the modality and variable, and the day's index in the
store, so that it is the same in every window, batch and rank that contains this day.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import ObservationOperator, Observations
from slams.runtime.seeds import generator

__all__ = ["draw", "random_reports"]


def draw(
    name: str,
    operator: ObservationOperator,
    truth: Tensor,
    truth_mask: Tensor,
    error_sd: Tensor | float,
    case: Tensor,
    seed: int,
    mask: Tensor | None = None,
    bound: float = -math.inf,
) -> Observations:
    """Draw noisy observations of the truth.

    Args:
        name: Modality and variable, for example `stations/2m_temperature`.
        operator: `H`.
        truth: `(B, T, C, H, W)` channel units; any value where it is missing.
        truth_mask: `(B, T, C, H, W)` bool, True where the truth is known.
        error_sd: Standard deviation of the error, a number, `(P,)` or `(B, T, P)`, in the
            operator's units.
        case: `(B,)` index in the store of the first day of each window.
        seed: The experiment's seed.
        mask: `(B, T, P)` bool, or a tensor that broadcasts to it, True where there is a report.
        bound: Lower bound of the reported values, in the operator's units.

    Returns:
        Observations, masked where a point depends on a missing truth; masked values are NaN, so
        that their use does not go unnoticed.

    Raises:
        UserError: An error is not above 0, or the number of errors is not that of the points.
    """
    shape = (*truth.shape[:2], len(operator))
    sd = _checked_error(name, error_sd, shape).to(truth.device, truth.dtype)
    observed = operator(torch.where(truth_mask, truth, 0.0))
    seen = ~operator.touches(~truth_mask)
    if mask is not None:
        seen = seen & mask
    batch, days, points = observed.shape
    noise = _by_day(torch.randn, points, days, case, seed, "observations", name)
    noise = noise.to(truth.device, truth.dtype)
    values = torch.where(seen, (observed + sd * noise).clamp(min=bound), torch.nan)
    return Observations(
        name=name,
        operator=operator,
        values=values,
        mask=seen,
        error_variance=(sd**2).expand(batch, days, points).contiguous(),
        bound=bound,
    )


def random_reports(
    name: str, points: int, days: int, missing: float, case: Tensor, seed: int
) -> Tensor:
    """Draw which reports arrive when some are missing at random.

    Args:
        name: Modality, or modality and variable; each name has its own pattern.
        points: Number `P` of points.
        days: Number `T` of days in a window.
        missing: Fraction of the reports that are missing, in [0, 1).
        case: `(B,)` index in the store of the first day of each window.
        seed: The experiment's seed.

    Returns:
        `(B, T, P)` bool on the device of `case`, True where there is a report; the pattern of a
        day is the same in every window.

    Raises:
        UserError: The fraction lies outside [0, 1).
    """
    if not 0 <= missing < 1:
        raise UserError(f"share of missing {name} reports is {missing:g}; expected in [0, 1)")
    drawn = _by_day(torch.rand, points, days, case, seed, "reports", name)
    return (drawn >= missing).to(case.device)


def _by_day(
    draw: Callable[..., Tensor], points: int, days: int, case: Tensor, seed: int, *stream: str
) -> Tensor:
    """Draw `(B, T, P)` numbers, those of each day from its own generator."""
    drawn = [
        draw(points, generator=generator(seed, *stream, first + t))
        for first in case.tolist()
        for t in range(days)
    ]
    return torch.stack(drawn).reshape(-1, days, points)


def _checked_error(name: str, error_sd: Tensor | float, shape: tuple[int, int, int]) -> Tensor:
    """Refuse standard deviations that are not above 0; return `(P,)` or `(B, T, P)` float64."""
    sd = torch.as_tensor(error_sd, dtype=torch.float64)
    if sd.ndim > 0 and tuple(sd.shape) not in (shape[-1:], shape):
        raise UserError(
            f"observation error of {name} has shape {tuple(sd.shape)}; expected one number or "
            f"one for each of {shape[-1]} points"
        )
    # Written so that NaN is refused; so is 0, because every method divides by R.
    wrong = (~(sd > 0)).reshape(-1).nonzero()
    if len(wrong):
        found = float(sd.reshape(-1)[int(wrong[0])])
        raise UserError(
            f"observation error of {name}: R needs a standard deviation above 0, found {found:g}"
        )
    return sd if sd.ndim == 3 else sd.expand(shape[-1])
