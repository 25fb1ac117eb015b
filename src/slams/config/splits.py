"""The days of the splits: read, ordered, apart by a gap, and long enough for a window."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

from slams.config.schema import SplitsConfig
from slams.errors import UserError

__all__ = ["SPLITS", "check_splits", "day_range", "parse_day", "split_days"]

SPLITS = ("train", "validation", "test")


def parse_day(key: str, text: str) -> date:
    """Reads an ISO date.

    Args:
        key: The key it stands under, for the message.
        text: For example `1980-01-31`.

    Raises:
        UserError: It is no such date, or the day does not exist.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"key {key!r}: found {text!r}, expected a day that exists, written 1980-01-31"
        ) from None


def split_days(splits: SplitsConfig, name: str) -> tuple[date, date] | None:
    """Gives the first and the last day of a split, or `None` for a split without days.

    Raises:
        UserError: The split is not two ISO dates in order.
    """
    return day_range(f"data.splits.{name}", getattr(splits, name))


def day_range(key: str, days: list[str]) -> tuple[date, date] | None:
    """Reads the first and the last day of a range, or `None` where there are no days.

    Args:
        key: The key they stand under, for the message.
        days: Nothing, or two ISO dates.

    Raises:
        UserError: They are not two ISO dates in order.
    """
    if not days:
        return None
    if len(days) != 2:
        raise UserError(f"key {key!r}: found {len(days)} dates, expected the first and last day")
    first, last = (parse_day(key, day) for day in days)
    if last < first:
        raise UserError(f"key {key!r}: the last day, {last}, is before the first, {first}")
    return first, last


def check_splits(splits: SplitsConfig, window: int) -> None:
    """Refuses splits that overlap, come closer than the gap, or are shorter than a window.

    Args:
        splits: The splits; any of them may be empty, and they may come in any order.
        window: Days in a window.

    Raises:
        UserError: One sentence with the split and its days.
    """
    found = [(name, days) for name in SPLITS if (days := split_days(splits, name))]
    for name, (first, last) in found:
        count = (last - first).days + 1
        if count < window:
            raise UserError(
                f"key 'data.window': a window of {window} days is longer than "
                f"data.splits.{name}, which has {count} ({first} to {last})"
            )
    ordered = sorted(found, key=lambda entry: entry[1])
    for (a, (_, end)), (b, (start, _)) in pairwise(ordered):
        between = (start - end).days - 1
        if between < 0:
            raise UserError(
                f"key 'data.splits.{b}': starts on {start} and overlaps data.splits.{a}, which "
                f"ends on {end}"
            )
        if between < splits.gap:
            raise UserError(
                f"key 'data.splits.{b}': starts on {start}, {between} days after the end of "
                f"data.splits.{a} on {end}; data.splits.gap expects {splits.gap} days between"
            )
