"""The first key in which two recipes, or parts of them, differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slams.config.validation import describe

__all__ = ["Difference", "first_difference"]


@dataclass(frozen=True)
class Difference:
    """First key in which two recipes differ.

    Attributes:
        key: Dotted path.
        found: Its value in what was made earlier; `None` where it has none.
        expected: Its value in the recipe at hand; `None` where it has none.
    """

    key: str
    found: Any
    expected: Any

    def __str__(self) -> str:
        return f"key {self.key!r}, found {_show(self.found)}, expected {_show(self.expected)}"


def first_difference(found: Any, expected: Any, key: str = "") -> Difference | None:
    """Find the first key in which two plain trees differ; mappings are entered, lists are not.

    Args:
        found: What was made earlier.
        expected: The recipe at hand, whose order of keys counts.
        key: Dotted path of the two trees.
    """
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for name in dict.fromkeys([*expected, *found]):
            inner = f"{key}.{name}".strip(".")
            below = first_difference(found.get(name), expected.get(name), inner)
            if below is not None:
                return below
        return None
    return None if found == expected else Difference(key, found, expected)


def _show(value: Any) -> str:
    text = repr(value) if isinstance(value, list) else describe(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
