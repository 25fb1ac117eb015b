"""Durations as SLURM writes them: `90`, `12:00:00`, `2-12:00:00`."""

from __future__ import annotations

import re

from slams.config.paths import shorten
from slams.errors import UserError
from slams.plugins.keys import Rule

__all__ = ["TIME_LIMIT", "parse_limit"]

_FORMS = "minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]]"


def parse_limit(what: str, text: str) -> int:
    """Read a duration.

    Args:
        what: The key or option of the text, for the message.
        text: The duration.

    Returns:
        Seconds.

    Raises:
        UserError: The text has none of SLURM's forms, or the duration is zero.
    """
    # Nine digits are more than any limit has, and few enough for every number format.
    n = r"\d{1,9}"
    form = rf"(?:(?P<days>{n})-)?(?P<first>{n})(?::(?P<second>{n}))?(?::(?P<third>{n}))?"
    match = re.fullmatch(form, text.strip(), flags=re.ASCII)
    if match is None:
        raise UserError(
            f"{what}: found {shorten(text)!r}, expected a time as SLURM writes it: {_FORMS}"
        )
    parts = [int(p) for p in match.group("first", "second", "third") if p is not None]
    if match["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        total = 86400 * int(match["days"]) + 3600 * hours + 60 * minutes + seconds
    elif len(parts) == 3:
        total = 3600 * parts[0] + 60 * parts[1] + parts[2]
    else:
        total = 60 * parts[0] + (parts[1] if len(parts) > 1 else 0)
    if total == 0:
        raise UserError(f"{what}: found {text!r}, expected more than zero")
    return total


TIME_LIMIT = Rule("a time as SLURM writes it", lambda key, text: parse_limit(f"key {key!r}", text))
