"""Explains the keys of a recipe: the comments of `slams.schema` become the help.

The comment lines directly above a field belong to it; a section without one is explained by the
first sentence of its data class.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slams import schema
from slams.schema import Config

__all__ = ["Key", "explain", "keys"]


@dataclass(frozen=True)
class Key:
    """Describes one key of a recipe.

    Attributes:
        path: Dotted path.
        kind: Type as written in the schema.
        value: Its default, or its value in a recipe.
        comment: What it means, with units; empty where the name says it all.
    """

    path: str
    kind: str
    value: Any
    comment: str


def keys(config: Config | None = None, sections: tuple[str, ...] = ()) -> Iterator[Key]:
    """Lists the keys in the order of the schema, sections left out.

    Args:
        config: Recipe whose values are shown; the defaults when not given.
        sections: Only keys inside these, for example `("vae", "trainer")`; all when empty.
    """
    comments = _comments()
    for key in _walk(config or Config(), Config, "", comments):
        if not sections or key.path.startswith(tuple(f"{s}." for s in sections)):
            yield key


def explain(found: Iterator[Key], width: int = 79) -> str:
    """Lays out keys for a terminal: `key = value`, the meaning below."""
    lines = []
    for key in found:
        shown = key.value if isinstance(key.value, str) and key.value else repr(key.value)
        lines.append(f"  {key.path} = {_shorten(shown, width - 5 - len(key.path))}")
        if key.comment:
            margin = "      "
            lines += textwrap.wrap(
                key.comment, width, initial_indent=margin, subsequent_indent=margin
            )
    return "\n".join(lines)


def _walk(value: Any, kind: Any, prefix: str, comments: dict[str, str]) -> Iterator[Key]:
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        path = f"{prefix}{item.name}"
        entry = getattr(value, item.name)
        if dataclasses.is_dataclass(entry):
            yield from _walk(entry, hints[item.name], f"{path}.", comments)
            continue
        comment = comments.get(f"{kind.__name__}.{item.name}", "")
        inner = typing.get_args(hints[item.name])
        if inner and dataclasses.is_dataclass(inner[0]):
            # A list of sections: its keys are explained once, under the first position.
            for position, one in enumerate(entry[:1]):
                yield from _walk(one, inner[0], f"{path}.{position}.", comments)
        else:
            yield Key(path, str(item.type), entry, comment)


@functools.cache
def _comments() -> dict[str, str]:
    """Collects the comments above fields: `Class.field` -> one line of text."""
    source = inspect.getsource(schema)
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                above = []
                row = item.lineno - 2  # the line above the field, counted from 0
                while lines[row].strip().startswith("#"):
                    above.append(lines[row].strip().removeprefix("#").strip())
                    row -= 1
                found[f"{node.name}.{item.target.id}"] = " ".join(reversed(above))
    return found


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= max(width, 20) else f"{text[: max(width, 20) - 3]}..."
