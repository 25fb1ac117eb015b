"""Read YAML of bounded size: a file that is not a recipe is refused, and never printed.

A recipe is a text of a few kilobytes and a few levels of nesting. Anything much larger or deeper
is a mistake, and costs minutes, all memory or Python's stack in the libraries that parse it. So
the size is bounded before reading, and the depth and number of values before parsing.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from slams.config.interpolations import check_interpolation
from slams.config.paths import shorten
from slams.errors import UserError

__all__ = ["parse_yaml", "read_yaml_text"]

# A hundred times the largest recipe in existence.
_LARGEST_BYTES = 2**18
_DEEPEST = 32
# About half a second of parsing; aliases (`*name`) count as what they refer to.
_MOST_VALUES = 10_000


def read_yaml_text(path: Path) -> str:
    """Return the text of a recipe.

    Args:
        path: A regular file. A pipe would block, and can be read only once.

    Raises:
        UserError: It is not a regular file, too large, not UTF-8 text, or not readable.
        FileNotFoundError: It does not exist.
        NotADirectoryError: One of its directories is a file.
    """
    what = f"recipe {shorten(str(path), 200)}"
    try:
        # Without O_NONBLOCK, opening a pipe blocks until another process writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"{what} is a pipe, socket or device, expected a YAML file")
            content = file.read(_LARGEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError:
        raise UserError(f"{what} is a directory, expected a YAML file") from None
    except OSError as error:
        raise UserError(f"{what} cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(content) > _LARGEST_BYTES:
        raise UserError(
            f"{what} is larger than {_LARGEST_BYTES // 1024} KiB, expected a YAML file of some "
            f"kilobytes"
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{what} is not a text file in UTF-8") from None


def parse_yaml(text: str, what: str) -> dict[str, Any]:
    """Parse keys and values with OmegaConf's loader: `1e-3` is a number, `1980-01-01` text.

    Args:
        text: YAML.
        what: Where the text was found, for messages.

    Returns:
        A plain tree, interpolations unresolved; empty for an empty text.

    Raises:
        UserError: The text is not valid YAML, has no keys, or is too large or too deep.
    """
    try:
        _refuse_shape(text, what)
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except UserError:
        raise
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        reason = shorten(error.problem or "it cannot be parsed", 120)
        raise UserError(f"{what} is not valid YAML{line}: {reason}") from None
    except RecursionError:
        raise UserError(f"{what} is nested too deep, expected plain keys and values") from None
    except Exception as error:
        # Constructors of the YAML library let Python errors of any kind escape: for a number with
        # more digits than `int` reads, for an empty `!!float`, for an impossible date.
        reason = shorten((str(error).strip() or type(error).__name__).splitlines()[0], 120)
        raise UserError(f"{what} is not valid YAML: {reason}") from None
    if isinstance(values, list):
        raise UserError(f"{what} holds a list of {len(values)}, expected keys and values")
    return values


def _refuse_shape(text: str, what: str) -> None:
    """Refuse a text that is a single value, or too large; check the syntax only.

    The parser used here does not recurse and builds no values.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    anchors: dict[str, int] = {}
    # Number of values in each open collection, with the collection's own anchor.
    opened: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=loader):
        size = 0
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, 1))
            if len(opened) > _DEEPEST:
                raise UserError(
                    f"{what} is nested more than {_DEEPEST} deep in line "
                    f"{event.start_mark.line + 1}, expected the keys of a recipe"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = opened.pop()
            if anchor:
                anchors[anchor] = size
        elif isinstance(event, yaml.ScalarEvent):
            if not opened and event.value:
                raise UserError(f"{what} holds a single value, expected keys and values")
            check_interpolation(f"{what}, line {event.start_mark.line + 1}", event.value)
            size = 1
            if event.anchor:
                anchors[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in opened):
                raise UserError(
                    f"{what} is not valid YAML in line {event.start_mark.line + 1}: "
                    f"{shorten(event.anchor)!r} contains itself"
                )
            size = anchors.get(event.anchor, 1)
        if not size:
            continue
        if opened:
            opened[-1] = (opened[-1][0], opened[-1][1] + size)
        total = max(total, size, opened[-1][1] if opened else 0)
        if total > _MOST_VALUES:
            raise UserError(
                f"{what} holds more than {_MOST_VALUES} values, expected the keys of a recipe"
            )
