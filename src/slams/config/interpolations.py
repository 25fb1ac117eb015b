"""Refuse interpolations that would take minutes, all memory or Python's stack to resolve."""

from __future__ import annotations

from typing import Any

from slams.config.paths import shorten
from slams.config.validation import Origin, leaves, where_set
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
        what: Where the text was found, for the message.
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


def refuse_endless(tree: Any, origin: Origin) -> None:
    """Refuse a recipe whose interpolations are nested deep, long, or could multiply.

    Args:
        tree: A plain tree, interpolations unresolved.
        origin: Where keys were set, for the message.

    Raises:
        UserError: One sentence, with the key.
    """
    copies = 1
    for key, text in leaves(tree):
        if not isinstance(text, str) or _OPENING not in text:
            continue
        what = f"key {key!r} {where_set(key, origin)}"
        check_interpolation(what, text)
        copies *= text.count(_OPENING)
        if copies > _MOST_COPIES:
            raise UserError(
                f"{what}: found too many interpolations ${{...}} that may refer to one another, "
                f"expected fewer of them in a value"
            )


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
