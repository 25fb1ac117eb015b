"""The periods of training, validation and test, and the windows of a store that lie in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slams.calendar.days import day_number
from slams.config.schema import SplitsConfig
from slams.config.splits import SPLITS, check_splits, split_days
from slams.errors import UserError

__all__ = ["Period", "find_days", "split_periods", "window_cases"]


@dataclass(frozen=True)
class Period:
    """Holds the first and the last day (both inside) of a split, days since 1970-01-01."""

    name: str
    first: int
    last: int

    def contains(self, time: np.ndarray) -> np.ndarray:
        """Tells which times fall on its days, hours of the last day included."""
        return (time >= self.first) & (time < self.last + 1)

    @property
    def dates(self) -> list[str]:
        """Gives the first and the last day as ISO dates."""
        return [str(np.datetime64(day, "D")) for day in (self.first, self.last)]

    def __str__(self) -> str:
        return " to ".join(self.dates)


def split_periods(splits: SplitsConfig, window: int = 1) -> dict[str, Period]:
    """Reads the splits of a recipe and checks that they keep apart.

    Args:
        splits: First and last day of each split.
        window: Days in a window.

    Returns:
        One period a split that the recipe gives; a split left empty is not in it.

    Raises:
        UserError: A date is not one, a split is shorter than a window or ends before it begins,
            or two splits overlap or are nearer than the gap.
    """
    check_splits(splits, window)
    found = {name: split_days(splits, name) for name in SPLITS}
    return {
        name: Period(name, day_number(days[0]), day_number(days[1]))
        for name, days in found.items()
        if days
    }


def find_days(time: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Finds days on a time axis by date, so that a gap in it never joins two seasons.

    Args:
        time: `(N,)` days since 1970-01-01 00 UTC, increasing.
        days: Any shape.

    Returns:
        int64 positions of the shape of `days`, -1 where there is no such day.
    """
    days = np.asarray(days, dtype=np.float64)
    near = np.minimum(np.searchsorted(time, days - 1e-4), len(time) - 1)
    return np.where(np.abs(time[near] - days) < 1e-3, near, -1).astype(np.int64)


def window_cases(time: np.ndarray, period: Period, window: int) -> np.ndarray:
    """Finds the windows of consecutive days that lie in a split.

    Args:
        time: `(N,)` days of the store, increasing.
        period: The split.
        window: Days in a window, `T`.

    Returns:
        int64 positions on the time axis of the first day of each window.

    Raises:
        UserError: The split has no data, or no window fits into it.
    """
    inside = period.contains(time)
    if not inside.any():
        first, last = (np.datetime64(int(np.floor(t)), "D") for t in (time[0], time[-1]))
        raise UserError(
            f"data.splits.{period.name}: the store has no data from {period}; it holds {first} "
            f"to {last}"
        )
    start = np.flatnonzero(inside)
    index = find_days(time, time[start][:, None] + np.arange(window))
    whole = ((index >= 0) & inside[index]).all(axis=1)
    if not whole.any():
        raise UserError(
            f"data.window: no window of {window} consecutive days lies in data.splits."
            f"{period.name} ({period}); the store has {len(start)} days of it"
        )
    return start[whole].astype(np.int64)
