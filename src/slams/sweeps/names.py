"""Names of the settings of a sweep: short, readable, unique and reproducible."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from slams.errors import UserError
from slams.runs.provenance import depends

__all__ = ["LONGEST", "name_settings", "name_training", "without_seed"]

# Longest name of a setting that `slams.config.checks` accepts.
LONGEST = 60


def name_settings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name settings by their values; names are short, readable and unique.

    Args:
        rows: The overrides of every setting; `name` is that of an entry of the list.

    Raises:
        UserError: A name is refused, or two settings are identical.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "name"))
    seen: dict[str, dict[str, Any]] = {}
    for row in rows:
        values = {key: value for key, value in row.items() if key != "name"}
        listed = row.get("name")
        named = isinstance(listed, str) and re.fullmatch(r"[\w+.=-]+", listed)
        if listed is not None and not named:
            raise UserError(
                f"key 'ablation.list': name {listed!r}, expected letters, digits, _, - and +"
            )
        own = _own_of_list(rows, row) if named else ()
        words = _words({k: v for k, v in values.items() if k not in own}, keys)
        name = _shorten("-".join(filter(None, (listed, words))) or "recipe", values)
        for other, earlier in seen.items():
            if earlier == values:
                raise UserError(f"key 'ablation': settings {other} and {name} are the same")
        if name in seen:
            name = f"{name[: LONGEST - 9]}-{_digest(values)}"
        seen[name] = values
    return list(seen)


def _own_of_list(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> set[str]:
    """Return the keys of a named entry that its name fixes, so that they need not be named."""
    same = [other for other in rows if other.get("name") == row["name"]]
    return {key for key in row if all(other.get(key) == row[key] for other in same)}


def _words(values: Mapping[str, Any], keys: Sequence[str]) -> str:
    return "-".join(f"{_tail(key, keys)}_{_slug(value)}" for key, value in values.items())


def _tail(key: str, keys: Sequence[str]) -> str:
    """Return the shortest end of a dotted key that distinguishes it from the other keys."""
    parts = key.split(".")
    for count in range(1, len(parts) + 1):
        tail = parts[-count:]
        if not any(k != key and k.split(".")[-count:] == tail for k in keys):
            break
    return _slug(".".join(tail))


def _slug(value: Any) -> str:
    if isinstance(value, list):
        text = "+".join(_slug(entry) for entry in value) or "none"
    elif isinstance(value, Mapping):
        text = "+".join(f"{key}_{_slug(entry)}" for key, entry in value.items()) or "none"
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = str(value)
    return re.sub(r"[^\w+.-]+", "_", text).strip("_") or "empty"


def _shorten(name: str, values: Mapping[str, Any]) -> str:
    room = LONGEST - len("trained-")
    if len(name) <= room:
        return name
    return f"{name[: room - 9].rstrip('-_.')}-{_digest(values)}"


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def name_training(stage: str, values: Mapping[str, Any]) -> str:
    """Name a training by those of the swept keys that it depends on.

    Args:
        stage: `vae` or `score`.
        values: The swept keys of a setting and their values.
    """
    relevant = {key: value for key, value in values.items() if depends(stage, key)}
    return _shorten(_words(relevant, list(values)), relevant)


def without_seed(name: str) -> str:
    """Remove the seed from a setting's name."""
    return re.sub(r"(^|-)seed_\d+", "", name).strip("-") or "recipe"
