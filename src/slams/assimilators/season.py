"""Days of an archive that belong to the season of a date, and draws among them."""

from __future__ import annotations

import torch
from torch import Tensor

from slams.normalisation import DAYS_PER_YEAR
from slams.runtime.seeds import generator

__all__ = ["draw_days", "season_counts", "season_days", "season_weights"]


def season_days(
    time: Tensor, date: float, half_width: float, minimum: int = 30, exclude: float = 10.0
) -> Tensor:
    """Return the archive's days within a season, of any year.

    Days close to the date itself are excluded, so that an archive that contains the verifying
    weather does not reveal it.

    Args:
        time: `(N,)` days of the archive since 1970-01-01.
        date: The date, days since 1970-01-01.
        half_width: Largest distance (days) from the date's day of year.
        minimum: If the season has fewer days, use this many that are nearest by day of year.
        exclude: Days closer to the date than this (days, including the year) are excluded.

    Returns:
        `(n,)` int64 indices into the archive, ascending.
    """
    time = time.to("cpu", torch.float64)
    apart = (time - date + DAYS_PER_YEAR / 2) % DAYS_PER_YEAR - DAYS_PER_YEAR / 2
    distance = apart.abs()
    distance[(time - date).abs() < exclude] = torch.inf
    inside = torch.nonzero(distance <= half_width).flatten()
    if inside.shape[0] >= minimum:
        return inside
    nearest = torch.argsort(distance, stable=True)[:minimum]
    return nearest[torch.isfinite(distance[nearest])].sort().values


def season_counts(time: Tensor, dates: Tensor, half_width: float) -> Tensor:
    """Count for each day of an archive the dates to whose season it belongs.

    Args:
        time: `(N,)` days of the archive since 1970-01-01.
        dates: `(n,)` days since 1970-01-01.
        half_width: Largest distance (days) from a date's day of year.

    Returns:
        `(N,)` int64.
    """
    season = torch.cat([season_days(time, float(date), half_width) for date in dates])
    return torch.bincount(season, minlength=len(time))


def season_weights(time: Tensor, date: float, width: float) -> Tensor | None:
    """Weight the archive's days by a Gaussian of the distance of their day of year from a date.

    Args:
        time: `(N,)` days of the archive since 1970-01-01.
        date: The date, days since 1970-01-01.
        width: Standard deviation (days) of the Gaussian; 0 for no weights.

    Returns:
        `(N,)` in (0, 1], or `None`.
    """
    if width == 0:
        return None
    apart = (time - date + DAYS_PER_YEAR / 2) % DAYS_PER_YEAR - DAYS_PER_YEAR / 2
    return torch.exp(-0.5 * (apart / width).square())


def draw_days(count: int, seed: int, stream: str, case: int, members: int) -> Tensor:
    """Draw a day for each member, without repetition as long as there are enough days.

    Args:
        count: Number of days to draw from.
        seed: The experiment's seed.
        stream: Name of the random stream.
        case: The case.
        members: Number `M` of members.

    Returns:
        `(M,)` int64 in [0, count); entry `m` does not depend on `M`.
    """
    order = torch.randperm(count, generator=generator(seed, stream, "days", case))
    return order[torch.arange(members) % count]
