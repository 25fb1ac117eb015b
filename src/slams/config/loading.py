"""Read recipes: YAML files that extend one another, dotted overrides, and the schema's defaults.

A recipe is a YAML file with the keys of `slams.config.schema.Config`, or of the data class of a
warm-up (`slams.warmups.recipes`). `extends: other.yaml` (relative to the recipe) first takes
everything from another recipe. Overrides `a.b=value` are applied last; a number in the dotted path
is a position in a list, and no key is set twice. A mistake is refused in one sentence before
anything heavy is imported: types and names by `slams.config.validation`, contradictions by
`slams.config.checks`.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from slams.config.checks import check
from slams.config.interpolations import refuse_endless
from slams.config.paths import check_path, shorten
from slams.config.plugins import is_data, resolve_plugins, texts
from slams.config.renamed import new_name, note, rename_keys
from slams.config.schema import Config
from slams.config.validation import (
    Origin,
    describe,
    is_inside,
    refuse_misfit,
    type_at,
    where_set,
)
from slams.config.yaml_text import parse_yaml, read_yaml_text
from slams.errors import UserError
from slams.plugins.keys import check_keys
from slams.runtime.signals import hold_back

__all__ = ["default_recipe", "dump_yaml", "load", "to_plain", "to_yaml"]

_COMMAND_LINE = "on the command line"
# Keys whose values are mappings with names of the user's choice: replaced as a whole, like lists.
_WHOLE = ("ablation.grid", "ablation.zip")
# Largest number of recipes in a chain of `extends`; reading is recursive.
_LONGEST_CHAIN = 50
_Schema = TypeVar("_Schema")


def load(
    path: str | Path | None,
    overrides: Sequence[str] = (),
    schema: type[_Schema] = Config,
    validator: Callable[[_Schema], None] = check,
    *,
    varied: Sequence[str] = (),
    trusted: bool = True,
) -> _Schema:
    """Read a recipe, apply overrides, and refuse contradictions.

    Args:
        path: The recipe (YAML); `None` for defaults alone.
        overrides: Dotted overrides, `a.b=value`, with the value in YAML.
        schema: Data class of the whole recipe.
        validator: Raises a `UserError` for a recipe that contradicts itself; what the
            rules of a key refuse (`slams.plugins.keys`) is refused before.
        varied: Overrides applied after these that come from a recipe, as those of a sweep's
            settings.
        trusted: Whether the user named this recipe; one that another file names is data, see
            `slams.config.plugins`.

    Returns:
        The configuration, every default filled in.

    Raises:
        UserError: A file is missing or is not YAML, a key is unknown, a value has a wrong type,
            an override replaces another, or the recipe contradicts itself (see
            `slams.config.checks.check`).
    """
    with hold_back():
        config = _read_all(path, overrides, varied, schema, trusted)
    check_keys(config)
    validator(config)
    return config


def to_plain(config: Any) -> dict[str, Any]:
    """Convert to plain dictionaries, lists and numbers, as checkpoints and JSON need them."""
    return dataclasses.asdict(config)


def to_yaml(config: Any) -> str:
    """Write the configuration as YAML, every key, in the order of the schema."""
    return dump_yaml(to_plain(config))


def dump_yaml(tree: dict[str, Any]) -> str:
    """Write a plain tree as YAML, in the order of its keys."""
    with hold_back():
        return OmegaConf.to_yaml(OmegaConf.create(tree))


def default_recipe() -> dict[str, Any]:
    """Return the recipe with every key at its default, as a plain tree."""
    return to_plain(Config())


def _read_all(
    path: str | Path | None,
    overrides: Sequence[str],
    varied: Sequence[str],
    schema: type[_Schema],
    trusted: bool,
) -> _Schema:
    """Read a recipe with what it extends and its overrides, without checking the values."""
    trusted_words: set[str] = set()
    reader = _Reader(schema, trusted_words)
    values, origin = ({}, {}) if path is None else reader.read(Path(path), (), trusted)
    tree = _overlay(to_plain(schema()), values)
    if schema is Config:
        _check_renamed([*overrides, *varied])
    placed: list[_Placed] = []
    for number, override in enumerate([*overrides, *varied]):
        key, value = _parse_override(override, schema)
        if number < len(overrides):
            trusted_words.update(texts(value))
            _refuse_second(override, key, value, placed)
        # One by one: the next may set a part of the value that this one has set.
        kind = type_at(key, _COMMAND_LINE, schema)
        refuse_misfit(value, kind, key, {key: _COMMAND_LINE}, schema)
        _place(tree, key, value)
        origin = _set(origin, key, _COMMAND_LINE)
    refuse_misfit(tree, schema, "", origin, schema)
    refuse_endless(tree, origin)
    if schema is Config:
        resolve_plugins(tree, origin, trusted_words)
    return _build(tree, origin, schema)


@dataclasses.dataclass(frozen=True)
class _Placed:
    """An override of the command line: as typed, its key, and the keys whose values it sets."""

    override: str
    key: str
    leaves: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reader of recipes and what they extend; it collects the texts that the user wrote.

    Attributes:
        schema: Data class of the whole recipe.
        trusted_words: Receives every text of the files that are the user's.
    """

    schema: type
    trusted_words: set[str]

    def read(
        self, path: Path, chain: tuple[Path, ...], trusted: bool
    ) -> tuple[dict[str, Any], Origin]:
        """Read one recipe and what it extends; return its values and the file of each key."""
        check_path(f"key 'extends' in {chain[-1]}" if chain else "recipe", str(path))
        resolved = _resolve(path)
        if resolved in chain:
            cycle = " -> ".join(p.name for p in (*chain[chain.index(resolved) :], resolved))
            raise UserError(
                f"recipe {chain[0].name} extends itself, {cycle}; remove one `extends`"
            )
        if len(chain) > _LONGEST_CHAIN:
            raise UserError(
                f"recipe {chain[0].name} extends more than {_LONGEST_CHAIN} others in a chain; "
                f"merge some of them"
            )
        values = parse_yaml(_text(path, chain), f"recipe {path}")
        old = rename_keys(values, f"in {path}") if self.schema is Config else []
        # What a data recipe extends is data too.
        trusted = trusted and not is_data(path)
        if trusted:
            self.trusted_words.update(texts(values))
            for key in old:
                note(key, f"in {path}")
        base: dict[str, Any] = {}
        origin: Origin = {}
        if "extends" in values:
            parent = values.pop("extends")
            if not isinstance(parent, str) or not parent:
                raise UserError(
                    f"key 'extends' in {path}: found {describe(parent)}, expected another recipe"
                )
            base, origin = self.read(path.parent / parent, (*chain, resolved), trusted)
        for key in _leaves(values):
            origin = _set(origin, key, f"in {path}")
        # File by file, so that the sentence names the file that is wrong and not one that extends
        # it.
        refuse_misfit(values, self.schema, "", origin, self.schema)
        return _overlay(base, values), origin


def _text(path: Path, chain: tuple[Path, ...]) -> str:
    try:
        return read_yaml_text(path)
    except (FileNotFoundError, NotADirectoryError):
        by = f", which {chain[-1].name} extends," if chain else ""
        raise UserError(f"recipe {path}{by} does not exist; {_nearest_recipe(path)}") from None


def _resolve(path: Path) -> Path:
    """Return the path without links; a circle of links is refused when the file is read."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # Python 3.11 raises the latter for a circle
        return path.absolute()


def _parse_override(override: str, schema: type) -> tuple[str, Any]:
    """Split `a.b=value`; text keys keep what was typed, others are parsed as YAML."""
    typed, separator, text = override.partition("=")
    key = new_name(typed.strip()) if schema is Config else typed.strip()
    if not separator or not key:
        raise UserError(f"override {shorten(override)!r} is not of the form key=value")
    kind, plain = type_at(key, _COMMAND_LINE, schema), not text.startswith(("'", '"'))
    if kind is str and plain:
        return key, text
    value = parse_yaml(f"value: {text}", f"the value of override {key!r}")["value"]
    # A word such as `off`, where a key takes text or a number: YAML would read it as false.
    word = plain and isinstance(value, bool) and str in typing.get_args(kind)
    return key, text.strip() if word else value


def _refuse_second(override: str, key: str, value: Any, placed: list[_Placed]) -> None:
    """Refuse an override that replaces what an earlier one has set, and record it.

    A later override may change a part of a list that an earlier one has set.

    Args:
        override: The override as typed.
        key: Its key.
        value: Its value.
        placed: The overrides before it.
    """
    own = _Placed(override, key, tuple(_leaves(value, key)))
    for earlier in placed:
        same = any(is_inside(before, now) for before in earlier.leaves for now in own.leaves)
        if same or earlier.key == key:
            raise UserError(
                f"overrides {shorten(earlier.override)!r} and {shorten(override)!r}: the second "
                f"replaces what the first sets, expected each key once; remove one of them"
            )
    placed.append(own)


def _check_renamed(overrides: Sequence[str]) -> None:
    """Print which overrides have an old name, and refuse one whose new name is set too."""
    typed = {override.partition("=")[0].strip(): "" for override in overrides}
    for old in rename_keys(typed, _COMMAND_LINE):
        note(old, _COMMAND_LINE)


def _place(tree: Any, key: str, value: Any) -> None:
    """Set the value at a dotted path that `type_at` has accepted."""
    *parents, last = key.split(".")
    for part in parents:
        tree = tree[_position(tree, part, key)]
    index = _position(tree, last, key)
    # An entry of a list, such as a station's variable, need not state all its keys.
    before = tree.get(index) if isinstance(tree, dict) else tree[index]
    tree[index] = _overlay(before, value, key)


def _position(tree: Any, part: str, key: str) -> Any:
    if isinstance(tree, dict):
        return part
    if not isinstance(tree, list):
        raise UserError(
            f"key {key!r} on the command line: found {describe(tree)} instead of the list or "
            f"section that contains it, which cannot be changed in part"
        )
    if int(part) >= len(tree):
        raise UserError(
            f"key {key!r} on the command line: position {part} is not in the list, which has "
            f"{len(tree)} entries counted from 0"
        )
    return int(part)


def _overlay(base: Any, top: Any, path: str = "") -> Any:
    """Merge mappings key by key; anything else, including lists, is replaced."""
    if isinstance(base, dict) and top is None:  # a section whose keys are all commented out
        return base
    if not isinstance(base, dict) or not isinstance(top, dict) or path in _WHOLE:
        return top
    merged = dict(base)
    for key, value in top.items():
        inner = f"{path}.{key}" if path else str(key)
        merged[key] = _overlay(base[key], value, inner) if key in base else value
    return merged


def _build(tree: dict[str, Any], origin: Origin, schema: type[_Schema]) -> _Schema:
    """Resolve interpolations, check types once more, and build the data classes."""
    node = OmegaConf.structured(schema)
    try:
        node = OmegaConf.merge(node, tree)
        resolved = OmegaConf.to_container(node, resolve=True)
        refuse_misfit(resolved, schema, "", origin, schema, resolved=True)
        return typing.cast(_Schema, OmegaConf.to_object(node))
    except OmegaConfBaseException as error:
        key = error.full_key or "?"
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"key {key!r} {where_set(key, origin)}: {reason}") from None
    except RecursionError:
        raise UserError(
            "the interpolations ${...} of the recipe refer to one another without end, expected "
            "each to lead to a value"
        ) from None


def _set(origin: Origin, key: str, where: str) -> dict[str, str]:
    """Record where a key was set, and drop earlier records of it and of its parts."""
    return {k: v for k, v in origin.items() if not is_inside(k, key)} | {key: where}


def _leaves(values: Any, prefix: str = "") -> Iterator[str]:
    """List the dotted paths of a plain tree; a list counts as one value."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix


def _nearest_recipe(path: Path) -> str:
    """Suggest the recipe whose name is most like a path that does not exist."""
    nearby = path.parent.glob("*.yaml") if path.parent.is_dir() else ()
    found = sorted({p.as_posix() for p in (*nearby, *Path("experiments").glob("**/*.yaml"))})
    by_name = {Path(name).stem: name for name in reversed(found)}
    close = difflib.get_close_matches(path.stem, by_name, n=1, cutoff=0.7)
    if close:
        return f"did you mean {by_name[close[0]]}?"
    return f"recipes here: {', '.join(found[:8])}" if found else "no recipe was found here"
