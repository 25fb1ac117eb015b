"""Rules that the checks of every recipe are made of: one sentence for a value that breaks one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from slams.config.schema import OptimizerConfig
from slams.errors import UserError, nearest
from slams.plugins.registry import Registry, is_reference

__all__ = ["check_optimizer", "check_registered", "holds", "one_of", "unique", "value_at"]


def value_at(config: Any, key: str) -> Any:
    """Return the value at a dotted key of a recipe."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def holds(config: Any, key: str, test: Callable[[Any], bool], expected: str) -> None:
    """Refuse a value that a test does not pass.

    Args:
        config: The recipe.
        key: Dotted key.
        test: True for what may be.
        expected: What may be, in words.

    Raises:
        UserError: The test fails.
    """
    value = value_at(config, key)
    if not test(value):
        raise UserError(f"key {key!r}: found {value}, expected {expected}")


def one_of(key: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is none of some names, naming the nearest.

    Raises:
        UserError: The value is no such name.
    """
    if value not in choices:
        raise UserError(f"key {key!r}: found {value!r}; {nearest(value, choices)}")


def check_registered(key: str, name: str, registry: Registry) -> None:
    """Refuse a name that is not registered; imports nothing that is built in.

    Raises:
        UserError: There is no such name, or a plug-in that nobody allowed.
    """
    if is_reference(name):
        registry.get(name, key)
    else:
        one_of(key, name, registry.names())


def unique(key: str, values: Iterable[Any]) -> None:
    """Refuse a list that has a value twice.

    Raises:
        UserError: A value is listed twice.
    """
    seen = set()
    for value in values:
        if value in seen:
            raise UserError(f"key {key!r}: {value} is listed twice")
        seen.add(value)


def check_optimizer(section: str, optimizer: OptimizerConfig) -> None:
    """Refuse an optimiser that cannot be.

    Args:
        section: Dotted key of the optimiser.
        optimizer: Its values.

    Raises:
        UserError: A value is out of its range.
    """
    rules = {
        "learning_rate": (optimizer.learning_rate > 0, "more than 0"),
        "weight_decay": (optimizer.weight_decay >= 0, "0 or more"),
        "steps": (optimizer.steps >= 1, "at least 1"),
        "accumulate": (optimizer.accumulate >= 1, "at least 1"),
        "warmup_steps": (optimizer.warmup_steps >= 0, "0 or more"),
        "clip": (optimizer.clip > 0, "more than 0"),
        "ema": (0 <= optimizer.ema < 1, "at least 0 and less than 1"),
    }
    for name, (fits, expected) in rules.items():
        if not fits:
            found = getattr(optimizer, name)
            raise UserError(f"key '{section}.{name}': found {found}, expected {expected}")
