"""Help for the keys of a recipe, made of the schema.

The comment lines directly above a field belong to it, and so do its rules (`slams.plugins.keys`);
a section is explained by the docstring of its data class.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slams.config.paths import shorten
from slams.config.schema import Config
from slams.plugins.keys import rules_of

__all__ = ["EXTENDS", "Key", "format_help", "list_keys"]

# `slams.config.loading` takes this key out of a file before it compares the file with the schema.
EXTENDS = (
    "`extends: other.yaml` in the file, relative to it, reads another recipe first: sections are "
    "merged key by key, any other value, lists included, is replaced"
)
_MARGIN = " " * 6


@dataclass(frozen=True)
class Key:
    """One key of a recipe.

    Attributes:
        path: Dotted path.
        value: Its default, or its value in a recipe.
        comment: What it means, with units.
        expected: What its value must be, one text per rule.
        section: Description of its section.
    """

    path: str
    value: Any
    comment: str
    expected: tuple[str, ...]
    section: str


def list_keys(
    config: Any = None, sections: tuple[str, ...] = (), schema: type = Config
) -> Iterator[Key]:
    """List the keys, `extends` first, those of a section before those of the sections inside it.

    Args:
        config: Recipe whose values are shown; the defaults when not given.
        sections: Only keys inside these, for example `("vae", "trainer")`; all when empty.
        schema: Data class of the whole recipe.
    """
    if not sections:
        yield Key("extends", "", f"{EXTENDS}. It cannot be an override.", (), _first_line(schema))
    for key in _walk(config or schema(), schema, "", set(), ""):
        if not sections or key.path.startswith(tuple(f"{s}." for s in sections)):
            yield key


def format_help(found: Iterator[Key], width: int = 79) -> str:
    """Format keys for a terminal: each section with its description, then `key = value`."""
    lines = []
    shown_section = ""
    for key in found:
        section = key.path.rpartition(".")[0]
        if section and section != shown_section:
            lines += ["", *textwrap.wrap(f"{section}: {key.section}", width)]
        shown_section = section
        value = key.value if isinstance(key.value, str) and key.value else repr(key.value)
        lines.append(f"  {key.path} = {shorten(value, max(width - 5 - len(key.path), 20))}")
        expected = f"({'; '.join(key.expected)})" if key.expected else ""
        about = textwrap.wrap(f"{key.comment} {expected}".strip(), width - len(_MARGIN))
        lines += [f"{_MARGIN}{line}" for line in about]
    return "\n".join(lines).strip("\n")


def _walk(value: Any, kind: Any, prefix: str, explained: set[Any], comment: str) -> Iterator[Key]:
    """List the keys of a section; `comment` is the one above the section."""
    explained.add(kind)
    comments = _comments(kind.__module__)
    hints = typing.get_type_hints(kind)
    about = f"{_first_line(kind)} {comment}".strip()
    sections: list[tuple[Any, Any, str, str]] = []
    for item in dataclasses.fields(kind):
        path = f"{prefix}{item.name}"
        entry = getattr(value, item.name)
        inner = typing.get_args(hints[item.name])
        above = comments.get(f"{kind.__name__}.{item.name}", "")
        if dataclasses.is_dataclass(entry):
            sections.append((entry, hints[item.name], f"{path}.", above))
            continue
        if inner and dataclasses.is_dataclass(inner[0]):
            # A list of sections: their keys are explained once, for position 0.
            sections.append((entry[0] if entry else None, inner[0], f"{path}.0.", ""))
            entry = [dataclasses.asdict(one) for one in entry]
        expected = tuple(rule.expected for rule in rules_of(item) if rule.expected)
        yield Key(path, entry, above, expected, about)
    for entry, inner, path, above in sections:
        # An empty list shows the defaults, unless they were shown elsewhere (`data.sources`).
        if entry is not None or inner not in explained:
            yield from _walk(inner() if entry is None else entry, inner, path, explained, above)


def _first_line(kind: Any) -> str:
    return (kind.__doc__ or "").splitlines()[0]


@functools.cache
def _comments(module: str) -> dict[str, str]:
    """Collect a module's comments above fields: `Class.field` -> one line of text."""
    source = inspect.getsource(sys.modules[module])
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
