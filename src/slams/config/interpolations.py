"""Refuse interpolations that would take minutes, all memory or Python's stack to resolve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from slams.config.paths import shorten
from slams.errors import UserError

__all__ = ["check_interpolation", "refuse_endless"]

_OPENING = "${"
# Interpolations inside interpolations are rare; the parser uses stack for each level.
_DEEPEST = 4
# The parser is slow: a text longer than this is a mistake.
_LONGEST = 1000
# Values that refer twice to values that refer twice to others double at each step. This many
# copies take about a second.
_MOST_COPIES = 2**13


def check_interpolation(what: str, text: str) -> None:
    """Refuse a text whose interpolations take the parser too long or exhaust its stack.

    Args:
        what: Where the text stands, for the message.
        text: Any text.

    Raises:
        UserError: It has interpolations, and is too long or nests them too deep.
    """
    if _OPENING not in text:
        return
    if len(text) > _LONGEST:
        raise UserError(
            f"{what}: found an interpolation ${{...}} of {len(text)} characters, expected at most "
            f"{_LONGEST}"
        )
    if _depth(text) > _DEEPEST:
        raise UserError(
            f"{what}: found {shorten(text)!r}, expected interpolations ${{...}} nested at most "
            f"{_DEEPEST} deep"
        )


def refuse_endless(tree: Any, where: Callable[[str], str]) -> None:
    """Refuse a recipe whose interpolations are nested deep, long, or could multiply.

    Args:
        tree: A plain tree, interpolations unresolved.
        where: Returns where a dotted key was set, for the message.

    Raises:
        UserError: One sentence, with the key.
    """
    copies = 1
    for key, text in _interpolated(tree, ""):
        what = f"key {key!r} {where(key)}"
        check_interpolation(what, text)
        copies *= text.count(_OPENING)
        if copies > _MOST_COPIES:
            raise UserError(
                f"{what}: found too many interpolations ${{...}} that may refer to one another, "
                f"expected fewer of them in a value"
            )


def _interpolated(tree: Any, path: str) -> Iterator[tuple[str, str]]:
    """List the dotted paths and texts of values with an interpolation."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _interpolated(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list):
        for position, value in enumerate(tree):
            yield from _interpolated(value, f"{path}.{position}")
    elif isinstance(tree, str) and _OPENING in tree:
        yield path, tree


def _depth(text: str) -> int:
    """Return the largest number of interpolations that are open at once."""
    deepest = depth = 0
    for position, character in enumerate(text):
        if text.startswith(_OPENING, position):
            depth += 1
            deepest = max(deepest, depth)
        elif character == "}":
            depth = max(depth - 1, 0)
    return deepest
