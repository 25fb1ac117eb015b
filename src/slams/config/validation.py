"""Refuse keys and values of a recipe that the schema does not allow, each in one sentence.

A plain tree (as read from YAML) is compared with the data classes of `slams.config.schema`.
Nothing is converted silently: `"16"` is not a number and `true` is not 1. A message names the
dotted key, the file that sets it, what was found and what was expected, with the nearest valid
name.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from slams.config.paths import check_text, shorten
from slams.config.schema import Config
from slams.errors import UserError

__all__ = [
    "Origin",
    "describe",
    "dotted_keys",
    "is_inside",
    "leaves",
    "refuse_misfit",
    "type_at",
    "where_set",
]

# Where each key that a recipe sets was set: dotted path -> "in file" or "on the command line".
Origin = Mapping[str, str]

# Keys where infinity is allowed: as a limit it switches the check off.
_MAY_BE_INFINITE = ("observations.gross_error",)
# Digits of the longest number that is shown in full.
_MOST_DIGITS = 30
# Limit of 64 bits: torch, numpy and SLURM each refuse larger numbers in their own way.
_LARGEST = 2**63
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_PLURALS = {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts"}


def describe(value: Any) -> str:
    """Describe a value in the words of a recipe's reader."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(shorten(value))
    if isinstance(value, Mapping):
        return "keys and values"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    # Python refuses to print whole numbers of more than a few thousand digits.
    if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
        return f"a number of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    return shorten(repr(value))


def is_inside(path: str, key: str) -> bool:
    """Return whether a dotted path is a key or lies below it."""
    return path == key or path.startswith(f"{key}.")


def where_set(path: str, origin: Origin) -> str:
    """Find where a key was set: on its own, or with the section or list that contains it."""
    around = [key for key in origin if is_inside(path, key)]
    within = [key for key in origin if is_inside(key, path)]
    # The innermost entry is the one that was set last.
    return (
        origin[max(around, key=len)] if around else origin[within[0]] if within else "by default"
    )


def dotted_keys(kind: Any = Config, prefix: str = "") -> Iterator[str]:
    """List every dotted key of the schema, each section before its keys."""
    for name, hint in typing.get_type_hints(kind).items():
        yield f"{prefix}{name}"
        if dataclasses.is_dataclass(hint):
            yield from dotted_keys(hint, f"{prefix}{name}.")


def type_at(key: str, where: str, schema: Any = Config) -> Any:
    """Find the schema's type at a dotted path; a number in the path is a list position.

    Args:
        key: The dotted path.
        where: Where the path was written, for the message.
        schema: Data class of the whole recipe.

    Raises:
        UserError: There is no such key; the message suggests the nearest.
    """
    kind: Any = schema
    walked: list[str] = []
    for part in key.split("."):
        item = _item_type(kind)
        if dataclasses.is_dataclass(kind):
            hints = typing.get_type_hints(kind)
            if part not in hints:
                raise _unknown(part, kind, ".".join(walked), where, schema)
            kind = hints[part]
        elif item is not None and re.fullmatch(r"[0-9]{1,6}", part):
            kind = item
        else:
            parent = ".".join(walked)
            what = "a list, expected a position" if item is not None else "one value, no section"
            raise UserError(f"unknown key {key!r} {where}; {parent!r} is {what}")
        walked.append(part)
    return kind


def refuse_misfit(
    values: Any, kind: Any, path: str, origin: Origin, schema: Any = Config, resolved: bool = False
) -> None:
    """Refuse unknown keys, and values that the schema's types do not allow.

    Args:
        values: A plain tree.
        kind: Type of the tree in the schema.
        path: Dotted path of the tree, empty for a whole recipe.
        origin: Where keys were set.
        schema: Data class of the whole recipe, searched for the nearest name.
        resolved: Whether interpolations have been resolved; otherwise they may have any type.

    Raises:
        UserError: A key is unknown, a value has a wrong type, or a number is not finite.
    """
    item = _item_type(kind)
    if dataclasses.is_dataclass(kind):
        if values is None:  # a section whose keys are all commented out
            return
        if not isinstance(values, Mapping):
            names = ", ".join(f.name for f in dataclasses.fields(kind))
            raise _wrong_type(path, values, f"the keys {names}", origin)
        hints = typing.get_type_hints(kind)
        for key, value in values.items():
            inner = f"{path}.{key}" if path else str(key)
            if key not in hints:
                raise _unknown(str(key), kind, path, where_set(inner, origin), schema)
            refuse_misfit(value, hints[key], inner, origin, schema, resolved)
    elif _is_free(kind):
        if not (isinstance(values, Mapping) and all(isinstance(key, str) for key in values)):
            raise _wrong_type(path, values, "dotted keys and values", origin)
        for inner, value in leaves(values, path):
            _refuse_unwritable(value, inner, origin)
    elif isinstance(values, str) and "${" in values and not resolved:
        return
    elif item is None:
        _refuse_wrong_type(values, kind, path, origin)
    elif isinstance(values, list):
        for position, value in enumerate(values):
            refuse_misfit(value, item, f"{path}.{position}", origin, schema, resolved)
    else:
        # A single entry where a list is expected: show how it is written.
        single = type(values) is item and values != "" and "\n" not in str(values)
        example = f", such as [{shorten(str(values), 40)}]" if single else ""
        raise _wrong_type(path, values, f"a list of {_plural(item)}{example}", origin)


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """List the dotted paths and values of a plain tree below its mappings and lists."""
    if not isinstance(tree, dict | list):
        yield path, tree
        return
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from leaves(value, f"{path}.{key}" if path else str(key))


def _refuse_wrong_type(value: Any, kind: Any, path: str, origin: Origin) -> None:
    if isinstance(value, str):
        check_text(f"key {path!r} {where_set(path, origin)}", value)
    kinds = typing.get_args(kind) or (kind,)
    words = _words(kinds)
    # OmegaConf treats ??? as a value that is still missing, and would keep the default silently.
    fits = isinstance(value, (*kinds, int) if float in kinds else kinds) and value != "???"
    # In Python, true is a number; in a recipe it is not.
    if not fits or (isinstance(value, bool) and bool not in kinds):
        raise _wrong_type(path, value, words, origin)
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise _wrong_type(path, value, f"{words} of less than 2**63 in size", origin)
    infinite = isinstance(value, float) and not math.isfinite(value)
    if infinite and not (path in _MAY_BE_INFINITE and value > 0):
        raise _wrong_type(path, value, "a finite number", origin)


def _words(kinds: tuple[Any, ...]) -> str:
    """Describe the types that a value may have; whole numbers are numbers."""
    named = [kind for kind in kinds if kind is not int or float not in kinds]
    return " or ".join(_WORDS[kind] for kind in named)


def _wrong_type(path: str, value: Any, expected: str, origin: Origin) -> UserError:
    hint = ""
    if isinstance(value, bool) and expected.startswith(_WORDS[str]):
        hint = "; put the word in quotes, since YAML reads on, yes, off and no as true or false"
    elif isinstance(value, int | float) and expected == _WORDS[str]:
        hint = f"; put it in quotes: '{describe(value)}'"
    return UserError(
        f"key {path!r} {where_set(path, origin)}: found {describe(value)}, "
        f"expected {expected}{hint}"
    )


def _unknown(key: str, kind: Any, prefix: str, where: str, schema: Any) -> UserError:
    """Return the error for an unknown key, with the nearest valid name near it or elsewhere."""
    path = f"{prefix}.{key}" if prefix else key
    siblings = [f.name for f in dataclasses.fields(kind)]
    close = difflib.get_close_matches(key, siblings, n=1, cutoff=0.6)
    if close:
        hint = f"did you mean '{f'{prefix}.' if prefix else ''}{close[0]}'?"
    else:
        # Of keys with one name, the first of the recipe, but those inside this section before all.
        names = sorted(dotted_keys(schema), key=lambda k: not k.startswith(f"{prefix}."))
        everywhere = {k.rpartition(".")[2]: k for k in reversed(names)}
        same = difflib.get_close_matches(key, everywhere, n=1, cutoff=0.75)
        section = f"{prefix!r}" if prefix else "a recipe"
        hint = (
            f"did you mean {everywhere[same[0]]!r}?"
            if same
            else f"{section} has {', '.join(siblings)}"
        )
    return UserError(f"unknown key {path!r} {where}; {hint}")


def _item_type(kind: Any) -> Any:
    """Return the type of a list's entries, or `None` for other types."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is list else None


def _is_free(kind: Any) -> bool:
    """Return whether the value is keys and values of the user's choice, as of `ablation.grid`."""
    return typing.get_origin(kind) is dict


def _refuse_unwritable(value: Any, path: str, origin: Origin) -> None:
    """Refuse a value of the user's choice that cannot be written to a recipe or record."""
    if isinstance(value, str):
        check_text(f"key {path!r} {where_set(path, origin)}", value)
    elif isinstance(value, int) and abs(value) >= _LARGEST:
        raise _wrong_type(path, value, "a number of less than 2**63 in size", origin)
    elif not (value is None or isinstance(value, int | float)):
        raise _wrong_type(path, value, "text, a number, a list, or keys and values", origin)


def _plural(kind: Any) -> str:
    if dataclasses.is_dataclass(kind):
        return f"entries with the keys {', '.join(f.name for f in dataclasses.fields(kind))}"
    if _is_free(kind):
        return "entries of dotted keys and values"
    return _PLURALS[kind]
