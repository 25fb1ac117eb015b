"""Ranges of days as text. Imports nothing, so that a recipe can be read without numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["date_ranges"]


def date_ranges(days: Sequence[Any]) -> str:
    """Write days in pairs (first, last, first, last, ...) as `a to b, c to d`."""
    texts = [str(day) for day in days]
    pairs = (texts[start : start + 2] for start in range(0, len(texts), 2))
    return ", ".join(" to ".join(pair) for pair in pairs)
