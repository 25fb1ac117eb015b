"""Plug-ins in recipes: where one may be named, and which recipes may name one.

A recipe that the user names may give a plug-in, `module:Class`, instead of a registered name, or
list it under `plugins`. The plug-in is imported, registered, and replaced by its own name;
`plugins` then lists it, so that a run directory records what it was made with.

A recipe in the directory of a run or of a sweep was written by the program, possibly by another
user's: it is data, and so is whatever it extends. The texts that the user wrote are therefore
collected: a plug-in that occurs among them is imported, any other only if the
user has named it with `--allow-plugin` or `plugins=[...]`. Neither the key that a name ends up
under nor the way in which recipes are merged makes a difference.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from slams.config.schema import Config
from slams.config.validation import Origin, leaves, where_set
from slams.errors import UserError
from slams.plugins.admission import admit_plugins, is_admitted
from slams.plugins.keys import rules_of
from slams.plugins.methods import FIRST_GUESSES
from slams.plugins.registry import Registry, is_reference

__all__ = ["is_data", "resolve_plugins", "texts"]

# Files that mark a directory, and everything below it, as written by the program.
_RECORDS = ("run.json", "sweep.json", "bundle.json")
# Sections whose values later become those of other keys.
_SWEPT = ("grid", "zip", "list")
# Times and durations contain colons too.
_CLOCK = re.compile(r"[-\d:.TZ ]+")


def texts(tree: Any) -> Iterator[str]:
    """List every text in a plain tree."""
    return (value for _, value in leaves(tree) if isinstance(value, str))


def is_data(file: Path) -> bool:
    """Return whether a recipe lies in or below a directory that the program wrote."""
    above = {*file.absolute().parents, *file.resolve().parents}
    return any((directory / record).exists() for directory in above for record in _RECORDS)


def resolve_plugins(tree: dict[str, Any], origin: Origin, trusted: Container[str]) -> None:
    """Import the plug-ins that a recipe names, and replace them by their registered names.

    Args:
        tree: The recipe as a plain tree of known keys and right types; changed in place.
        origin: Where its keys were set, for messages.
        trusted: Texts that the user wrote, in recipes and in overrides.

    Raises:
        UserError: A plug-in cannot be imported or registered, or is named in a recipe that is not
            trusted.
    """
    used: list[str] = []

    def refuse_untrusted(word: str, key: str) -> None:
        if word not in trusted and not all(map(is_admitted, _references(word))):
            raise _untrusted(word, key, where_set(key, origin))

    def resolved(name: str, key: str, registry: Registry) -> str:
        if not is_reference(name):
            return name
        used.append(name)
        return registry.admit(name, f"key {key!r}").name

    for position, reference in enumerate(tree["plugins"]):
        key = f"plugins.{position}"
        if not is_reference(reference):
            raise UserError(f"key {key!r}: found {reference!r}, expected module:Class")
        refuse_untrusted(reference, key)
        admit_plugins([reference], f"key {key!r}")
    for owner, index, key, registry in _names(tree, Config):
        name = owner[index]
        if not isinstance(name, str) or "${" in name:
            continue
        if is_reference(name):
            refuse_untrusted(name, key)
        # A method may start from a first guess, `METHOD@FIRST_GUESS`; `module:Class` has no `@`.
        base, at, guess = name.partition("@")
        owner[index] = resolved(base, key, registry) + at + resolved(guess, key, FIRST_GUESSES)
    # A sweep sets these in the recipes of its settings, in this process or in a job's.
    for word in texts([tree["ablation"][name] for name in _SWEPT]):
        if is_reference(word) and not _CLOCK.fullmatch(word):
            refuse_untrusted(word, "ablation")
    tree["plugins"] = list(dict.fromkeys([*tree["plugins"], *used]))


def _names(tree: Any, kind: Any, path: str = "") -> Iterator[tuple[Any, Any, str, Registry]]:
    """Find the names of specifications in a plain tree, by the rules of the keys.

    Yields:
        Dictionary or list with the name, key or position in it, dotted key, registry.
    """
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        value = tree.get(item.name) if isinstance(tree, dict) else None
        key, hint = f"{path}{item.name}", hints[item.name]
        entries = list(enumerate(value)) if isinstance(value, list) else []
        for registry in filter(None, (rule.registry for rule in rules_of(item))):
            if isinstance(value, str):
                yield tree, item.name, key, registry
            for position, _ in entries:
                yield value, position, f"{key}.{position}", registry
        if dataclasses.is_dataclass(hint):
            yield from _names(value, hint, f"{key}.")
        elif entries and dataclasses.is_dataclass(typing.get_args(hint)[0]):
            for position, entry in entries:
                yield from _names(entry, typing.get_args(hint)[0], f"{key}.{position}.")


def _references(word: str) -> list[str]:
    """List the references in a text: those of a method and of its first guess."""
    return [part for part in word.split("@") if is_reference(part)]


def _untrusted(word: str, key: str, where: str) -> UserError:
    named = " and ".join(_references(word))
    return UserError(
        f"key {key!r} {where}: names the plug-in {named}, and a recipe in a run directory may not "
        f"start code by itself; if you trust it, name it with --allow-plugin {named} (in Python: "
        f"plugins=[{named!r}])"
    )
