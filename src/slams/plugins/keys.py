"""Rules of a key of a recipe: they are stated at the key, and checks and help are made of them.

A data class names the rules of a key next to its default:

    @dataclass
    class Settings:
        # Training days in the archive.
        archive: int = key(240, at_least(2))
        kind: str = key("mean", one_of("mean", "latest"))

`check_keys` refuses a value that breaks one of them, `slams.config.help` shows them. How values of
several keys must fit one another is checked where the section is known (`slams.config.checks`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from slams.errors import UserError, nearest
from slams.plugins.registry import Registry, is_reference

__all__ = [
    "DISTINCT",
    "NOT_EMPTY",
    "NOT_NEGATIVE",
    "POSITIVE",
    "PROBABILITY",
    "SHARE",
    "Rule",
    "at_least",
    "check_keys",
    "distinct",
    "each",
    "key",
    "not_empty",
    "one_of",
    "optional",
    "registered",
    "rules_of",
    "that",
]


@dataclass(frozen=True)
class Rule:
    """A condition on one value.

    Attributes:
        expected: What may be, in words, for messages and help; empty where help need not state it.
        check: Refuse a value; takes the dotted key and the value, raises `UserError`.
        registry: Registry that the value, or each entry of a list, names a specification of.
    """

    expected: str
    check: Callable[[str, Any], object]
    registry: Registry | None = None


def key(default: Any, *rules: Rule) -> Any:
    """Return a data class's field with the rules of its value.

    Args:
        default: The default; a list or mapping is copied for each object.
        rules: What the value must be, checked in this order.
    """
    metadata = {"rules": rules}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def that(test: Callable[[Any], bool], expected: str) -> Rule:
    """Return the rule that a test passes.

    Args:
        test: Whether a value may be.
        expected: What may be, in words: "an even number".
    """

    def check(name: str, value: Any) -> None:
        if not test(value):
            raise UserError(f"key {name!r}: found {value!r}, expected {expected}")

    return Rule(expected, check)


def at_least(smallest: float) -> Rule:
    """Return the rule that a number is not less than another."""
    return that(lambda value: value >= smallest, f"at least {smallest}")


def one_of(*choices: str) -> Rule:
    """Return the rule that a text is one of some; a refusal names the nearest."""

    def check(name: str, value: str) -> None:
        if value not in choices:
            raise UserError(f"key {name!r}: found {value!r}; {nearest(value, choices)}")

    return Rule(f"one of {', '.join(choice or repr('') for choice in choices)}", check)


def registered(registry: Registry) -> Rule:
    """Return the rule that a name is registered; nothing that is built in is imported."""

    def check(name: str, value: str) -> None:
        if is_reference(value):
            registry.get(value, name)
        else:
            one_of(*registry.names()).check(name, value)

    expected = f"a registered {registry.what}, or module:name of a plug-in"
    return Rule(expected, check, registry)


def each(rule: Rule) -> Rule:
    """Return the rule that every entry of a list passes another."""

    def check(name: str, values: list[Any]) -> None:
        for position, value in enumerate(values):
            rule.check(f"{name}.{position}", value)

    return replace(rule, expected=rule.expected and f"entries: {rule.expected}", check=check)


def optional(rule: Rule) -> Rule:
    """Return the rule that a text is empty or passes another."""

    def check(name: str, value: str) -> None:
        if value:
            rule.check(name, value)

    return replace(rule, expected=rule.expected and f"empty, or {rule.expected}", check=check)


def not_empty(expected: str) -> Rule:
    """Return the rule that a list or a mapping has at least one entry.

    Args:
        expected: What the entries are, in words, for messages: "stores of `slams simulate`".
    """

    def check(name: str, values: Any) -> None:
        if not values:
            raise UserError(f"key {name!r}: found none, expected {expected}")

    return Rule("at least one entry", check)


def distinct(attribute: str = "") -> Rule:
    """Return the rule that no entry of a list is there twice.

    Args:
        attribute: Attribute by which entries are compared; empty for the entries themselves.
    """

    def check(name: str, values: list[Any]) -> None:
        found = [getattr(value, attribute) if attribute else value for value in values]
        for position, value in enumerate(found):
            if value in found[:position]:
                raise UserError(f"key {name!r}: {value} is listed twice")

    return Rule(f"each {attribute or 'entry'} once", check)


DISTINCT = distinct()
NOT_EMPTY = not_empty("at least one entry")
NOT_NEGATIVE = that(lambda value: value >= 0, "0 or more")
POSITIVE = that(lambda value: value > 0, "more than 0")
PROBABILITY = that(lambda value: 0 <= value <= 1, "in [0, 1]")
# A share of one would leave nothing.
SHARE = that(lambda value: 0 <= value < 1, "at least 0 and less than 1")


def rules_of(item: dataclasses.Field[Any]) -> tuple[Rule, ...]:
    """Return the rules of a data class's field."""
    return item.metadata.get("rules", ())


def check_keys(settings: Any, section: str = "") -> None:
    """Refuse the first value that breaks a rule of its key, in the order of the data classes.

    Args:
        settings: A data class; those inside it and in its lists are checked too.
        section: Dotted key of it; empty for a whole recipe.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    for item in dataclasses.fields(settings):
        name, value = f"{section}.{item.name}".lstrip("."), getattr(settings, item.name)
        for rule in rules_of(item):
            rule.check(name, value)
        if dataclasses.is_dataclass(value):
            check_keys(value, name)
        for position, entry in enumerate(value if isinstance(value, list) else ()):
            if dataclasses.is_dataclass(entry):
                check_keys(entry, f"{name}.{position}")
