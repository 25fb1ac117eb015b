"""Days of the splits: in order, separated by a gap, long enough, and apart from reserved days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from slams.calendar.ranges import date_ranges
from slams.errors import UserError
from slams.plugins.keys import Rule

if TYPE_CHECKING:  # the schema takes its rules from here
    from slams.config.schema import SplitsConfig

__all__ = [
    "DAY",
    "DAYS",
    "SPLITS",
    "Piece",
    "check_apart",
    "check_reserved",
    "check_splits",
    "check_test_days",
    "day_pieces",
    "day_range",
    "describe_test_days",
    "flat_days",
    "join_pieces",
    "parse_day",
    "split_pieces",
    "touches",
]

SPLITS = ("train", "validation", "test")

# First and last day of a piece, both inclusive.
Piece = tuple[date, date]


def parse_day(key: str, text: str) -> date:
    """Read an ISO date.

    Args:
        key: The key of the text, for the message.
        text: For example `1980-01-31`.

    Raises:
        UserError: The text is not such a date, or the day does not exist.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"key {key!r}: found {text!r}, expected a day that exists, written 1980-01-31"
        ) from None


def split_pieces(splits: SplitsConfig, name: str) -> tuple[Piece, ...]:
    """Return the pieces of a split, or of the reserved days; empty for a split without days.

    Raises:
        UserError: The days are not ISO dates in pairs, or the pieces are not in order of time.
    """
    return day_pieces(f"data.splits.{name}", getattr(splits, name))


def day_pieces(key: str, days: Sequence[str]) -> tuple[Piece, ...]:
    """Read days in pairs: first, last, first, last, and so on in order of time.

    Args:
        key: The key of the dates, for the message.
        days: ISO dates.

    Raises:
        UserError: The number of dates is odd, or they are not in order.
    """
    if len(days) % 2:
        raise UserError(
            f"key {key!r}: found {len(days)} dates, expected the first and last day, or pairs of "
            f"them, one per piece"
        )
    found = [parse_day(key, day) for day in days]
    pieces = tuple(zip(found[::2], found[1::2], strict=True))
    for first, last in pieces:
        if last < first:
            raise UserError(f"key {key!r}: the last day, {last}, is before the first, {first}")
    for before, after in pairwise(pieces):
        if after[0] <= before[1]:
            raise UserError(
                f"key {key!r}: the piece {_text([after])} overlaps or precedes "
                f"{_text([before])}, expected pieces in order of time"
            )
    return pieces


def day_range(key: str, days: list[str]) -> Piece | None:
    """Read the first and the last day of a range, or `None` where there are no days.

    Args:
        key: The key of the dates, for the message.
        days: Empty, or two ISO dates.

    Raises:
        UserError: They are not two ISO dates in order.
    """
    if not days:
        return None
    if len(days) != 2:
        raise UserError(f"key {key!r}: found {len(days)} dates, expected the first and last day")
    return day_pieces(key, days)[0]


def flat_days(pieces: Sequence[Piece]) -> list[str]:
    """Return pieces as a recipe writes them: ISO dates, first, last, first, last, and so on."""
    return [day.isoformat() for piece in pieces for day in piece]


def join_pieces(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return the union of pieces in order of time; pieces that overlap or touch are merged."""
    joined: list[Piece] = []
    for first, last in sorted(pieces):
        if joined and first <= joined[-1][1] + timedelta(days=1):
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def touches(pieces: Sequence[Piece], others: Sequence[Piece]) -> bool:
    """Return whether two lists of pieces have a day in common."""
    return any(a[0] <= b[1] and b[0] <= a[1] for a in pieces for b in others)


def check_splits(splits: SplitsConfig, window: int, reach: int = 0) -> None:
    """Refuse splits that overlap, violate the gap, are too short, or contain reserved days.

    Args:
        splits: The splits; any of them may be empty, and they may come in any order.
        window: Days per window; every piece of a split has at least one window.
        reach: Days before a window that are read with it, see `check_reserved`.

    Raises:
        UserError: One sentence with the split and its days.
    """
    found = [(name, piece) for name in SPLITS for piece in split_pieces(splits, name)]
    for name, (first, last) in found:
        count = (last - first).days + 1
        if count < window:
            raise UserError(
                f"key 'data.window': a window of {window} days is longer than "
                f"data.splits.{name}, which has {count} ({first} to {last})"
            )
    # Pieces of one split are in order and apart: only neighbours can be too close.
    ordered = sorted(found, key=lambda entry: entry[1])
    for (a, (_, end)), (b, (start, _)) in pairwise(ordered):
        between = (start - end).days - 1
        if a == b:
            continue
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
    check_reserved(splits, split_pieces(splits, "reserved"), "data.splits.reserved", reach)


def check_reserved(
    splits: SplitsConfig, reserved: Sequence[Piece], where: str, reach: int = 0
) -> None:
    """Refuse training and validation days that are reserved, or too close to reserved days.

    The gap applies on either side of reserved days; after them, so do the days that are read
    before a window.

    Args:
        splits: The splits.
        reserved: Reserved pieces, of the recipe or of a store.
        where: What reserves them, for the message.
        reach: Days before a window that are read with it: those that its background is made from.

    Raises:
        UserError: One sentence with the split, its days and the reserved ones.
    """
    for name in ("train", "validation"):
        for piece in split_pieces(splits, name):
            check_apart(f"key 'data.splits.{name}'", piece, reserved, where, splits.gap, reach)


def check_test_days(
    splits: SplitsConfig, reserved: Sequence[Piece], where: str, reach: int = 0
) -> None:
    """Refuse to read reserved test days unless `splits.final` says that they may be.

    Arguments as in `check_reserved`. A recipe may name reserved days as its test split, prepare a
    store and train; this check is for verbs that read those days.

    Raises:
        UserError: One sentence with the test days and the reserved ones.
    """
    if splits.final:
        return
    for piece in split_pieces(splits, "test"):
        read = (piece[0] - timedelta(days=reach), piece[1])
        for other in reserved:
            if touches([read], [other]):
                raise UserError(
                    f"key 'data.splits.test': {_text([piece])} reads days that {where} reserves "
                    f"({_text([other])}); choose other days, or set data.splits.final=true if "
                    f"this is a final measurement"
                )


def check_apart(
    key: str, piece: Piece, reserved: Sequence[Piece], where: str, gap: int, reach: int = 0
) -> None:
    """Refuse a piece that has reserved days or is closer to them than the gap.

    Arguments as in `check_reserved`; `key` begins the message.

    Raises:
        UserError: The piece has reserved days, or is too close to them.
    """
    first, last = piece
    for start, end in reserved:
        if touches([piece], [(start, end)]):
            raise UserError(
                f"{key}: {_text([piece])} has days that {where} reserves "
                f"({_text([(start, end)])}), expected days that are not reserved"
            )
        before, after = (start - last).days - 1, (first - end).days - 1
        between, needed = (before, gap) if before >= 0 else (after, max(gap, reach))
        if between < needed:
            why = "data.splits.gap" if needed == gap else "the days that a background is made from"
            raise UserError(
                f"{key}: {_text([piece])} is {between} days from days that {where} reserves "
                f"({_text([(start, end)])}); {why} expects {needed} days between"
            )


def describe_test_days(splits: SplitsConfig, reserved: Sequence[str], read: bool) -> str:
    """Describe how a run treats its test days; "" where it has none.

    Args:
        splits: The splits of the recipe.
        reserved: Days that the recipe and the store reserve, ISO dates in pairs.
        read: Whether the run reads its test days: training does not.

    Returns:
        `reserved, final`, `reserved, not read` or `not reserved`.
    """
    test = split_pieces(splits, "test")
    if not test:
        return ""
    if not touches(test, day_pieces("reserved", reserved)):
        return "not reserved"
    return "reserved, final" if read else "reserved, not read"


def _text(pieces: Sequence[Piece]) -> str:
    return date_ranges(flat_days(pieces))


DAY = Rule("a day such as 1980-01-31", parse_day)
DAYS = Rule("no days, or the first and the last", day_range)
