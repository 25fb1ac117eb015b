"""Plug-ins of a recipe: where one may be named, and whose recipes may name one.

A recipe that the user hands over may name a plug-in, `module:Class`, in the place of a registered
name, or list it under `plugins`. It is imported, registered, and replaced by the name that it
calls itself; `plugins` then lists it, so that a run directory says what it was made with.

A recipe that lies in a run directory or in that of a sweep was written by the program, maybe
somebody else's: it is data. What it names is imported only if the user has named it already, with
`--allow-plugin` or `plugins=[...]`.
"""

from __future__ import annotations

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

__all__ = ["resolve_plugins"]

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
# Files that make a directory one of the program's own.
_RECORDS = ("run.json", "sweep.json")


def resolve_plugins(tree: dict[str, Any], origin: Origin, recipe: Path | None) -> None:
    """Import the plug-ins that a recipe names, and put their registered names in their place.

    Args:
        tree: The recipe as a plain tree of known keys and right types; changed in place.
        origin: Where its keys were set.
        recipe: The file that the user named, or that was found in a run directory; `None` for
            none. What it extends is trusted no more than itself.

    Raises:
        UserError: A plug-in cannot be imported or registered, or stands in a recipe that is not
            trusted.
    """
    used: list[str] = []

    def resolved(name: str, key: str, registry: Registry) -> str:
        if not is_reference(name):
            return name
        _refuse_untrusted(name, key, origin, recipe)
        used.append(name)
        return registry.admit(name, f"key {key!r}").name

    for position, reference in enumerate(tree["plugins"]):
        key = f"plugins.{position}"
        if not is_reference(reference):
            raise UserError(f"key {key!r}: found {reference!r}, expected module:Class")
        _refuse_untrusted(reference, key, origin, recipe)
        admit_plugins([reference], f"key {key!r}")
    for pattern, registry in _NAMES.items():
        _replace(tree, pattern, lambda name, key, r=registry: resolved(name, key, r))

    def method(name: str, key: str) -> str:
        # `module:Class` has no `@`.
        base, at, guess = name.partition("@")
        return resolved(base, key, METHODS) + at + resolved(guess, key, FIRST_GUESSES)

    _replace(tree, _METHODS, method)
    tree["plugins"] = list(dict.fromkeys([*tree["plugins"], *used]))


def _replace(tree: Any, pattern: str, change: Callable[[str, str], str]) -> None:
    """Change the texts at the keys that a pattern stands for; interpolations stay as they are."""
    for owner, index, key in _places(tree, pattern.split("."), ()):
        name = owner[index]
        if isinstance(name, str) and "${" not in name:
            owner[index] = change(name, key)


def _places(
    owner: Any, parts: list[str], walked: tuple[str, ...]
) -> Iterator[tuple[Any, Any, str]]:
    """Find the places of a pattern: dictionary or list, key or position in it, dotted key."""
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


def _refuse_untrusted(reference: str, key: str, origin: Origin, recipe: Path | None) -> None:
    """Refuse a plug-in that a recipe of the program's own names, unless the user named it too."""
    where = where_set(key, origin)
    if is_admitted(reference) or not where.startswith("in "):
        return
    files = [Path(where.removeprefix("in ")), *([recipe] if recipe else [])]
    if any(_is_data(file) for file in files):
        raise UserError(
            f"key {key!r} {where}: names the plug-in {reference!r}, and a recipe in a run "
            f"directory may not start code by itself; if you trust it, name it with "
            f"--allow-plugin {reference} (in Python: plugins=[{reference!r}])"
        )


def _is_data(file: Path) -> bool:
    """Return whether a recipe lies in a directory that the program wrote."""
    directories = {file.parent, file.resolve().parent}
    return any((d / record).exists() for d in directories for record in _RECORDS)
