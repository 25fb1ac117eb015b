"""What a reader of station reports or imagery leaves out: one rule for all archives.

A report that cannot be used (its station is not in the list, it has no position or no time, it
contradicts another one) is left out and counted, with the reason and an example. Above a share of
all reports, `left_out` in the recipe, the archive is refused: it is then not one bad row, but
another layout, another list of stations, or a damaged file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from slams.errors import UserError

__all__ = ["Accounting", "LeftOut", "describe_left_out", "merge_left_out"]


@dataclass(frozen=True)
class LeftOut:
    """Reports that were left out for one reason.

    Attributes:
        why: The reason.
        number: Number of reports.
        example: One of them, in words.
    """

    why: str
    number: int
    example: str


class Accounting:
    """Account of the reports of one archive that are left out.

    Args:
        where: Name of the archive, for messages.
        key: Dotted key of the limit in the recipe, for messages.
        limit: Largest share that may be left out; 0 refuses the first bad report, 1 sets no limit.
        what: What is counted, for messages.
    """

    def __init__(
        self, where: str, key: str = "", limit: float = 0.0, what: str = "reports"
    ) -> None:
        self.where, self.key, self.limit, self.what = where, key, limit, what
        self._found: dict[str, LeftOut] = {}

    @property
    def records(self) -> tuple[LeftOut, ...]:
        """Return what was left out, by reason."""
        return tuple(self._found.values())

    def add(self, why: str, number: int, example: str) -> None:
        """Count reports that are left out.

        Args:
            why: The reason.
            number: Number of reports, at least one.
            example: One of them, in words.

        Raises:
            UserError: No report may be left out.
        """
        if self.limit == 0:
            raise UserError(f"{self.where}: {example}")
        one = self._found.get(why) or LeftOut(why, 0, example)
        self._found[why] = replace(one, number=one.number + number)

    def keep(
        self, rows: pd.DataFrame, good: Any, why: str, example: Callable[[pd.Series], str]
    ) -> pd.DataFrame:
        """Return the good rows of a table, and count the others.

        Args:
            rows: `n` reports.
            good: `(n,)` bool.
            why: The reason why others are left out.
            example: Description of a row.

        Raises:
            UserError: No report may be left out.
        """
        # A check of text that is missing gives neither true nor false.
        good = pd.array(np.asarray(good), dtype="boolean").fillna(False).to_numpy(dtype=bool)
        if good.all():
            return rows
        bad = rows[~good]
        self.add(why, len(bad), example(bad.iloc[0]))
        return rows[good]

    def include(self, records: Iterable[LeftOut]) -> None:
        """Count what was left out of a part of the archive."""
        for one in records:
            self.add(one.why, one.number, one.example)

    def check(self, kept: int) -> None:
        """Refuse an archive of which too much was left out.

        Args:
            kept: Number of reports that were not left out.

        Raises:
            UserError: The share is above the limit.
        """
        number = sum(one.number for one in self.records)
        if number > self.limit * (number + kept):
            share = number / (number + kept)
            most = sorted(self.records, key=lambda one: -one.number)
            reasons = "; ".join(f"{one.why} {one.number} ({one.example})" for one in most)
            raise UserError(
                f"{self.where}: {number} of {number + kept} {self.what} ({share:.1%}) cannot be "
                f"used, expected at most {self.limit:.1%} ({self.key}): {reasons}"
            )


def merge_left_out(parts: Sequence[Sequence[LeftOut]]) -> tuple[LeftOut, ...]:
    """Sum what was left out of several parts of an archive, by reason."""
    whole = Accounting("", limit=1.0)
    for records in parts:
        whole.include(records)
    return whole.records


def describe_left_out(records: Sequence[LeftOut], kept: int, what: str = "reports") -> str:
    """Return one line about what was left out, "" for nothing.

    Args:
        records: What was left out.
        kept: Number of reports that were not left out.
        what: What is counted.
    """
    number = sum(one.number for one in records)
    if not number:
        return ""
    reasons = "; ".join(f"{one.why} {one.number} ({one.example})" for one in records)
    share = number / (number + kept)
    return f"left out: {number} of {number + kept} {what} ({share:.2%}): {reasons}"
