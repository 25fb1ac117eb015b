"""Amounts of memory as a recipe writes them: a number and its unit."""

from __future__ import annotations

import re

from slams.config.paths import shorten
from slams.errors import UserError
from slams.plugins.keys import Rule

__all__ = ["MEMORY", "parse_memory", "show_memory"]

_UNITS = {
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "TiB": 2.0**40,
}


def parse_memory(key: str, text: str) -> int:
    """Read an amount such as `2 GB` or `512MiB`; return bytes.

    Args:
        key: The key of the text, for the message.
        text: Number and unit.

    Raises:
        UserError: The text is not such an amount.
    """
    match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,12})?)\s*([KMGT]i?B)\s*", text)
    if match is None or match[2] not in _UNITS or not float(match[1]) > 0:
        raise UserError(
            f"key {key!r}: found {shorten(text)!r}, expected an amount such as 2 GB or 800 MB"
        )
    return int(float(match[1]) * _UNITS[match[2]])


def show_memory(size: float) -> str:
    """Format bytes for a reader: `640 MB`, `1.3 GB`."""
    for unit in ("TB", "GB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.2f} {unit}"
    return f"{size / 1e6:.0f} MB"


MEMORY = Rule("an amount such as 2 GB or 800 MB", parse_memory)
