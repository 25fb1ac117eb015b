"""Plug-ins in recipes: where one may be named, and which recipes may name one.

A recipe that the user names may give a plug-in, `module:Class`, instead of a registered name, or
list it under `plugins`. The plug-in is imported, registered, and replaced by its own name;
`plugins` then lists it, so that a run directory records what it was made with.

A recipe in the directory of a run or of a sweep was written by the program, possibly by another
user's: it is data, and so is whatever it extends. The texts that the user wrote are therefore
collected, as `TrustedWords`: a plug-in that occurs among them is imported, any other only if the
user has named it with `--allow-plugin` or `plugins=[...]`. Neither the key that a name ends up
under nor the way in which recipes are merged makes a difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slams.config.validation import Origin, where_set
from slams.errors import UserError
from slams.plugins.admission import admit_plugins, is_admitted
from slams.plugins.guidance import GUIDANCE
from slams.plugins.methods import FIRST_GUESSES, METHODS
from slams.plugins.operators import OPERATORS
from slams.plugins.registry import Registry, is_reference
from slams.plugins.samplers import SAMPLERS
from slams.plugins.sources import SOURCES
from slams.plugins.station_sources import STATION_SOURCES

__all__ = ["TrustedWords", "is_data", "resolve_plugins"]

# Keys whose value names a specification; `*` stands for every position of a list.
_NAMES: dict[str, Registry] = {
    "assimilation.guidance.kind": GUIDANCE,
    "assimilation.sampler.kind": SAMPLERS,
    "observations.instruments.*.operator": OPERATORS,
    "data.source.kind": SOURCES,
    "data.sources.*.kind": SOURCES,
    "observations.stations.source.kind": STATION_SOURCES,
}
# This one names a method and, after an `@`, a first guess.
_METHODS = "assimilation.methods.*"
# Files that mark a directory, and everything below it, as written by the program.
_RECORDS = ("run.json", "sweep.json")
# Sections whose values later become those of other keys.
_SWEPT = ("grid", "zip", "list")
# Times and durations contain colons too.
_CLOCK = re.compile(r"[-\d:.TZ ]+")


class TrustedWords:
    """Texts that the user wrote, in recipes and in overrides."""

    def __init__(self) -> None:
        self._words: set[str] = set()

    def add(self, value: Any) -> None:
        """Add every text in a plain tree."""
        self._words.update(_texts(value))

    def __contains__(self, word: str) -> bool:
        return word in self._words


def is_data(file: Path) -> bool:
    """Return whether a recipe lies in or below a directory that the program wrote."""
    above = {*file.absolute().parents, *file.resolve().parents}
    return any((directory / record).exists() for directory in above for record in _RECORDS)


def resolve_plugins(tree: dict[str, Any], origin: Origin, trusted: TrustedWords) -> None:
    """Import the plug-ins that a recipe names, and replace them by their registered names.

    Args:
        tree: The recipe as a plain tree of known keys and right types; changed in place.
        origin: Where its keys were set, for messages.
        trusted: Texts that the user wrote.

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
    for pattern, registry in _NAMES.items():

        def one(name: str, key: str, registry: Registry = registry) -> str:
            if is_reference(name):
                refuse_untrusted(name, key)
            return resolved(name, key, registry)

        _replace(tree, pattern, one)

    def method(name: str, key: str) -> str:
        if is_reference(name):
            refuse_untrusted(name, key)
        # `module:Class` has no `@`.
        base, at, guess = name.partition("@")
        return resolved(base, key, METHODS) + at + resolved(guess, key, FIRST_GUESSES)

    _replace(tree, _METHODS, method)
    # A sweep sets these in the recipes of its settings, in this process or in a job's.
    for word in _texts([tree["ablation"][name] for name in _SWEPT]):
        if is_reference(word) and not _CLOCK.fullmatch(word):
            refuse_untrusted(word, "ablation")
    tree["plugins"] = list(dict.fromkeys([*tree["plugins"], *used]))


def _replace(tree: Any, pattern: str, change: Callable[[str, str], str]) -> None:
    """Change the texts at the keys that match a pattern; leave interpolations unchanged."""
    for owner, index, key in _places(tree, pattern.split("."), ()):
        name = owner[index]
        if isinstance(name, str) and "${" not in name:
            owner[index] = change(name, key)


def _places(
    owner: Any, parts: list[str], walked: tuple[str, ...]
) -> Iterator[tuple[Any, Any, str]]:
    """Find the places that match a pattern: dictionary or list, key or position, dotted key."""
    first, *rest = parts
    if first == "*":
        indices: list[Any] = list(range(len(owner))) if isinstance(owner, list) else []
    else:
        indices = [first] if isinstance(owner, dict) and first in owner else []
    for index in indices:
        path = (*walked, str(index))
        if rest:
            yield from _places(owner[index], rest, path)
        else:
            yield owner, index, ".".join(path)


def _texts(value: Any) -> Iterator[str]:
    """List every text in a plain tree."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


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
