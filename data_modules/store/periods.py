"""The periods of training, validation and test, and the windows of a store in each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from slams.calendar.days import day_number
from slams.calendar.ranges import date_ranges
from slams.config.schema import SplitsConfig
from slams.config.splits import SPLITS, check_splits, split_pieces
from slams.errors import UserError

__all__ = ["Period", "find_days", "runs_of", "split_periods", "window_cases"]


@dataclass(frozen=True)
class Period:
    """The days of a split.

    Attributes:
        name: Name of the split.
        pieces: First and last day (both inclusive, days since 1970-01-01) of each piece, in
            order of time.
    """

    name: str
    pieces: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, name: str, days: Sequence[str]) -> Period:
        """Return the period of ISO dates in pairs: first, last, first, last, and so on."""
        numbers = [day_number(date.fromisoformat(day)) for day in days]
        return cls(name, tuple(zip(numbers[::2], numbers[1::2], strict=True)))

    def pieces_of(self, time: np.ndarray) -> np.ndarray:
        """Return the piece that contains each time, up to the end of its last day; -1 for none.

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
        """Return whether each time is on one of its days, up to the end of the last day."""
        return self.pieces_of(time) >= 0

    @property
    def dates(self) -> list[str]:
        """Return the first and the last day of each piece as ISO dates, in a flat list."""
        return [str(np.datetime64(day, "D")) for piece in self.pieces for day in piece]

    def __str__(self) -> str:
        return date_ranges(self.dates)


def split_periods(splits: SplitsConfig, window: int = 1) -> dict[str, Period]:
    """Return the splits of a recipe; check that they are separate.

    Args:
        splits: First and last day of each piece of each split.
        window: Days per window, the fewest that hold it.

    Returns:
        Period by split; splits that are empty in the recipe are absent.

    Raises:
        UserError: A date is invalid, a piece is shorter than a window or ends before it begins,
            or two splits overlap or are closer than the gap.
    """
    check_splits(splits, window)
    found = {name: split_pieces(splits, name) for name in SPLITS}
    return {
        name: Period(name, tuple((day_number(first), day_number(last)) for first, last in pieces))
        for name, pieces in found.items()
        if pieces
    }


def find_days(time: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Find days on a time axis by date, which is safe where the axis has gaps.

    Args:
        time: `(N,)` days since 1970-01-01 00 UTC, increasing.
        days: Any shape.

    Returns:
        int64 positions of the shape of `days`, -1 where there is no such day.
    """
    days = np.asarray(days, dtype=np.float64)
    near = np.minimum(np.searchsorted(time, days - 1e-4), len(time) - 1)
    return np.where(np.abs(time[near] - days) < 1e-3, near, -1).astype(np.int64)


def runs_of(index: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Divide positions into consecutive runs: place in `index`, first position, length.

    Negative positions belong to no run.
    """
    # A plain loop: for the days of a batch NumPy takes three times as long.
    positions = index.tolist()
    start = 0
    for place in range(1, len(positions) + 1):
        before = positions[place - 1]
        if place == len(positions) or before < 0 or positions[place] != before + 1:
            if positions[start] >= 0:
                yield start, positions[start], place - start
            start = place


def window_cases(time: np.ndarray, period: Period, window: int, step: float = 1.0) -> np.ndarray:
    """Return the windows of consecutive steps that are in one piece of a split.

    Args:
        time: `(N,)` days of the store, increasing.
        period: The days of the split.
        window: Steps per window, `T`.
        step: Length of a step (days).

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
                f"data.splits.{period.name}: the store has no data from {lacking}; it has "
                f"{first} to {last}"
            )
    start = np.flatnonzero(piece >= 0)
    index = find_days(time, time[start][:, None] + step * np.arange(window))
    whole = ((index >= 0) & (piece[index] == piece[start][:, None])).all(axis=1)
    if not whole.any():
        words = "days" if step == 1 else "steps"
        raise UserError(
            f"data.window: no window of {window} consecutive {words} is in data.splits."
            f"{period.name} ({period}); the store has {len(start)} {words} of it"
        )
    return start[whole].astype(np.int64)
