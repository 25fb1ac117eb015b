"""The periods of training, validation and test, and the windows of a store that lie in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from slams.calendar.days import day_number
from slams.calendar.ranges import date_ranges
from slams.config.schema import SplitsConfig
from slams.config.splits import SPLITS, check_splits, split_pieces
from slams.errors import UserError

__all__ = ["Period", "find_days", "split_periods", "window_cases"]


@dataclass(frozen=True)
class Period:
    """Holds the days of a split.

    Attributes:
        name: The split.
        pieces: First and last day (both inside, days since 1970-01-01) of each piece, in order of
            time.
    """

    name: str
    pieces: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, name: str, days: Sequence[str]) -> Period:
        """Make the period of ISO dates in pairs: first, last, first, last, and so on."""
        numbers = [day_number(date.fromisoformat(day)) for day in days]
        return cls(name, tuple(zip(numbers[::2], numbers[1::2], strict=True)))

    def pieces_of(self, time: np.ndarray) -> np.ndarray:
        """Return the piece that each time falls on, hours of its last day included; -1 for none.

        Args:
            time: Days since 1970-01-01 00 UTC, any shape.

        Returns:
            int64 of the shape of `time`.
        """
        if not self.pieces:
            return np.full(np.shape(time), -1, dtype=np.int64)
        first, last = np.array(self.pieces, dtype=np.int64).reshape(-1, 2).T
        piece = np.searchsorted(first, time, side="right") - 1
        inside = (piece >= 0) & (time < last[piece] + 1)
        return np.where(inside, piece, -1).astype(np.int64)

    def contains(self, time: np.ndarray) -> np.ndarray:
        """Return which times fall on its days, hours of a last day included."""
        return self.pieces_of(time) >= 0

    @property
    def dates(self) -> list[str]:
        """Return the first and the last day of each piece as ISO dates, one after the other."""
        return [str(np.datetime64(day, "D")) for piece in self.pieces for day in piece]

    def __str__(self) -> str:
        return date_ranges(self.dates)


def split_periods(splits: SplitsConfig, window: int = 1) -> dict[str, Period]:
    """Read the splits of a recipe and check that they keep apart.

    Args:
        splits: First and last day of each piece of each split.
        window: Days in a window.

    Returns:
        One period a split that the recipe gives; a split left empty is not in it.

    Raises:
        UserError: A date is not one, a piece is shorter than a window or ends before it begins,
            or two splits overlap or are nearer than the gap.
    """
    check_splits(splits, window)
    found = {name: split_pieces(splits, name) for name in SPLITS}
    return {
        name: Period(name, tuple((day_number(first), day_number(last)) for first, last in pieces))
        for name, pieces in found.items()
        if pieces
    }


def find_days(time: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Find days on a time axis by date, so that a gap in it never joins two seasons.

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
    """Find the windows of consecutive days that lie in one piece of a split.

    Args:
        time: `(N,)` days of the store, increasing.
        period: The split.
        window: Days in a window, `T`.

    Returns:
        int64 positions on the time axis of the first day of each window.

    Raises:
        UserError: A piece of the split has no data, or no window fits into the split.
    """
    piece = period.pieces_of(time)
    for number, days in enumerate(period.pieces):
        if not (piece == number).any():
            lacking = Period(period.name, (days,))
            first, last = (np.datetime64(int(np.floor(t)), "D") for t in (time[0], time[-1]))
            raise UserError(
                f"data.splits.{period.name}: the store has no data from {lacking}; it holds "
                f"{first} to {last}"
            )
    start = np.flatnonzero(piece >= 0)
    index = find_days(time, time[start][:, None] + np.arange(window))
    whole = ((index >= 0) & (piece[index] == piece[start][:, None])).all(axis=1)
    if not whole.any():
        raise UserError(
            f"data.window: no window of {window} consecutive days lies in data.splits."
            f"{period.name} ({period}); the store has {len(start)} days of it"
        )
    return start[whole].astype(np.int64)
