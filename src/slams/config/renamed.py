"""Keys that had another name before: recipes with the old one are still read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from slams.errors import UserError
from slams.runtime.ranks import is_rank_zero

__all__ = ["RENAMED", "new_name", "note", "rename_keys"]

# Old dotted key: the present one, in the same section.
RENAMED: Mapping[str, str] = {
    "trained_in": "pretrained_experiment",
}
# Sections whose entries are dotted keys themselves.
_OF_KEYS = ("ablation.grid", "ablation.zip")


def new_name(key: str) -> str:
    """Return the present name of a dotted key."""
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return key


def rename_keys(values: dict[str, Any], where: str) -> list[str]:
    """Give the keys of a recipe their present names, in place.

    Args:
        values: A plain tree.
        where: Where it was read, for messages: "in base.yaml".

    Returns:
        The old keys that were found.

    Raises:
        UserError: An old key and its new name are both set.
    """
    found = []
    for old, new in RENAMED.items():
        *parents, last = old.split(".")
        places = [(_section(values, parents), last, new.rpartition(".")[2], where)]
        for name in _OF_KEYS:
            places.append((_section(values, name.split(".")), old, new, f"{where}, {name}"))
        for section, before, after, place in places:
            if before not in section:
                continue
            if after in section:
                raise UserError(
                    f"keys {old!r} and {new!r} {place}: found both, expected one; the first is "
                    f"the old name of the second, remove it"
                )
            # In the place of the old one: the order of an ablation's keys names its settings.
            items = [(after if name == before else name, value) for name, value in section.items()]
            section.clear()
            section.update(items)
            found.append(old)
    return list(dict.fromkeys(found))


def note(old: str, where: str) -> None:
    """Print that an old key was read, on standard error: standard output may be a recipe."""
    if is_rank_zero():
        print(f"slams: key {old!r} {where} is now called {RENAMED[old]!r}", file=sys.stderr)


def _section(tree: Any, parents: list[str]) -> dict[str, Any]:
    """Return the section at a path; an empty one where there is none."""
    for part in parents:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}
