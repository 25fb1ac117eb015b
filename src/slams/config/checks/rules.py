"""Checks of values that must fit other values of a recipe: one sentence for one that does not.

What a value may be is stated at its key, by rules of `slams.plugins.keys`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from slams.errors import UserError

__all__ = ["check_that"]


def check_that(passes: object, config: Any, key: str, expected: str) -> None:
    """Refuse the value of a key that does not fit other values.

    Args:
        passes: Whether it fits; anything that is true or false.
        config: The recipe.
        key: Dotted key.
        expected: What may be, in words, with the reason.

    Raises:
        UserError: It does not fit.
    """
    if not passes:
        found = attrgetter(key)(config)
        found = repr(found) if found != "" else "nothing"
        raise UserError(f"key {key!r}: found {found}, expected {expected}")
