"""Refuse paths and names that no file system can hold, before anything is looked up."""

from __future__ import annotations

import os
from pathlib import Path

from slams.errors import UserError

__all__ = ["check_path", "check_text", "shorten"]

# What Linux file systems take, in bytes: one component, and a whole path.
_LONGEST_COMPONENT = 255
_LONGEST_PATH = 4095
# Bytes left free where something is written: a lock and temporary files stand beside it, with
# longer names than its own, and run directories with their results lie beneath it.
_ROOM_BESIDE = 40
_ROOM_BENEATH = 600


def check_path(what: str, text: str, *, written: bool = False) -> None:
    """Refuse a path that cannot exist, whatever the disk holds.

    Args:
        what: The key, option or file it is given for, for the message.
        text: The path. An address (`s3://...`) is held to its whole length alone.
        written: Whether the program writes there, beside it and beneath it.

    Raises:
        UserError: It has a NUL, is not text in UTF-8, or is too long.
    """
    check_text(what, text)
    longest = _LONGEST_COMPONENT - (_ROOM_BESIDE if written else 0)
    for part in [] if "://" in text else text.split("/"):
        size = len(os.fsencode(part))
        if size > longest:
            raise UserError(
                f"{what}: found the name {shorten(part)!r} of {size} bytes, expected at most "
                f"{longest}, which is what a file system takes"
            )
    # Relative paths are joined with the working directory here and there.
    whole = text if "://" in text else str(Path.cwd() / text)
    longest = _LONGEST_PATH - (_ROOM_BENEATH if written else 0)
    size = len(os.fsencode(whole))
    if size > longest:
        raise UserError(
            f"{what}: found a path of {size} bytes, {shorten(text)!r}, expected at most "
            f"{longest}, which is what the operating system takes"
        )


def check_text(what: str, text: str) -> None:
    """Refuse text that neither a file system nor a terminal can take.

    Args:
        what: The key, option or argument it is given for, for the message.
        text: The text.

    Raises:
        UserError: It has a NUL, or characters that UTF-8 cannot write.
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
