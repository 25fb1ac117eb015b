"""Rules that the checks of recipes are made of: one sentence for a value that breaks one.

What a value may be is stated at its key, by rules of `slams.plugins.keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from slams.config.schema import OptimizerConfig
from slams.errors import UserError
from slams.plugins import keys
from slams.plugins.registry import Registry

__all__ = ["check_optimizer", "check_registered", "check_that", "holds", "one_of", "unique"]


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
        raise UserError(f"key {key!r}: found {found!r}, expected {expected}")


def holds(config: Any, key: str, test: Callable[[Any], bool], expected: str) -> None:
    """Refuse a value that a test does not pass; arguments and errors as of `check_that`."""
    keys.that(test, expected).check(key, attrgetter(key)(config))


def one_of(key: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is none of some names, naming the nearest (`UserError`)."""
    keys.one_of(*choices).check(key, value)


def check_registered(key: str, name: str, registry: Registry) -> None:
    """Refuse a name that is not registered, with `UserError`; import nothing that is built in."""
    keys.registered(registry).check(key, name)


def unique(key: str, values: Iterable[Any]) -> None:
    """Refuse a list that has a value twice (`UserError`)."""
    keys.DISTINCT.check(key, list(values))


def check_optimizer(section: str, optimizer: OptimizerConfig) -> None:
    """Refuse an optimiser whose keys break their rules (`UserError`).

    Args:
        section: Dotted key of the optimiser.
        optimizer: Its values.
    """
    keys.check_keys(optimizer, section)
