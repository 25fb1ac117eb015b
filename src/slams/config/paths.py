"""Refuse paths and names that no file system can store, before any file is accessed.

The rules of keys for paths and names are at the end.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from slams.errors import UserError
from slams.plugins.keys import Rule, that

__all__ = [
    "DIRECTORY",
    "NAME",
    "NAMES",
    "PATH",
    "REPLACED",
    "WRITTEN_PATH",
    "check_path",
    "check_text",
    "shorten",
]

# Limits of Linux file systems in bytes: of one component, and of a whole path.
_LONGEST_COMPONENT = 255
_LONGEST_PATH = 4095
# Bytes left free where something is written: lock and temporary files with longer names lie next
# to it, and run directories with their results lie below it.
_ROOM_BESIDE = 40
_ROOM_BENEATH = 600
# Longest part of a name: locks and temporary names need some of the 255 bytes.
_LONGEST_NAME = 60
_LONGEST_NAME_BYTES = 200


def check_path(what: str, text: str, *, written: bool = False) -> None:
    """Refuse a path that cannot exist, on any disk.

    Args:
        what: The key, option or file whose path it is, for the message.
        text: The path. Of an address (`s3://...`) only the whole length is checked.
        written: Whether the program writes at, next to and below the path.

    Raises:
        UserError: The path has a NUL, is not UTF-8 text, or is too long.
    """
    check_text(what, text)
    longest = _LONGEST_COMPONENT - (_ROOM_BESIDE if written else 0)
    for part in [] if "://" in text else text.split("/"):
        size = len(os.fsencode(part))
        if size > longest:
            raise UserError(
                f"{what}: found the name {shorten(part)!r} of {size} bytes, expected at most "
                f"{longest}, which is the limit of a file system"
            )
    # Relative paths may be joined with the working directory.
    whole = text if "://" in text else str(Path.cwd() / text)
    longest = _LONGEST_PATH - (_ROOM_BENEATH if written else 0)
    size = len(os.fsencode(whole))
    if size > longest:
        raise UserError(
            f"{what}: found a path of {size} bytes, {shorten(text)!r}, expected at most "
            f"{longest}, which is the limit of the operating system"
        )


def check_text(what: str, text: str) -> None:
    """Refuse text that neither a file system nor a terminal can represent.

    Args:
        what: The key, option or argument of the text, for the message.
        text: The text.

    Raises:
        UserError: The text has a NUL, or characters that UTF-8 cannot encode.
    """
    if "\0" in text:
        raise UserError(f"{what}: found {shorten(text)!r}, expected text without a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{what}: found {shorten(text)!a}, expected text in UTF-8") from None


def shorten(text: str, longest: int = 60) -> str:
    """Cut a text that is too long for a message, and mark the cut with dots."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _check_name(key: str, name: str, separator: str | None = None) -> None:
    """Refuse a name that would leave its directory or be hidden in it."""
    parts = name.split(separator) if separator else [name]
    for part in parts:
        plain = part == part.strip() and part.isprintable() and set(part).isdisjoint('\\/:*?"<>|')
        fits = 0 < len(part) <= _LONGEST_NAME and len(os.fsencode(part)) <= _LONGEST_NAME_BYTES
        if not (plain and fits) or part.startswith("."):
            inside = f" with the part {shorten(part)!r}" if len(parts) > 1 else ""
            raise UserError(
                f"key {key!r}: found {shorten(name)!r}{inside}, expected the name of a "
                f"directory: at most {_LONGEST_NAME} characters, none of "
                f'\\/:*?"<>|, no dot first'
            )


# A path that is read, and one at, next to and below which the program writes.
PATH = Rule("", lambda key, text: check_path(f"key {key!r}", text))
WRITTEN_PATH = Rule("", lambda key, text: check_path(f"key {key!r}", text, written=True))
DIRECTORY = that(lambda text: text.strip() and text.isprintable(), "the path of a directory")
# A directory that the program may replace: it must not be the working directory.
REPLACED = that(
    lambda text: text.strip() and text.isprintable() and Path(text).name not in ("", ".."),
    "the path of a directory",
)
NAME = Rule("the name of a directory", _check_name)
NAMES = Rule(
    "the name of a directory, or several with slashes", partial(_check_name, separator="/")
)
