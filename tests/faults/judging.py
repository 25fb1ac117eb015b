"""How a case of random headers may end: read rightly, or refused in one sentence."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from slams.errors import UserError

__all__ = ["Failure", "judged"]

# Letters of the longest sentence that is still read.
_LONGEST = 1200


class Failure(Exception):  # noqa: N818 - a finding of the test, no error of the program
    """A case that was neither read rightly nor refused in one sentence."""


def judged(label: str, read: Callable[[], None], must_refuse: bool = False) -> str:
    """Read, and judge how it ends.

    Args:
        label: What was done.
        read: Reads and compares; raises `Failure` for other values.
        must_refuse: Whether nothing can be right.

    Raises:
        Failure: Neither of the two.
    """
    try:
        read()
    except UserError as error:
        text = str(error)
        if "\n" in text or len(text) > _LONGEST or "Traceback" in text:
            raise Failure(f"{label}: not one sentence: {text}") from error
        return f"{label}: refused: {text}"
    except Failure as failure:
        raise Failure(f"{label}: {failure}") from None
    except Exception as error:
        raise Failure(f"{label}:\n{traceback.format_exc()}") from error
    if must_refuse:
        raise Failure(f"{label}: read, though nothing can be right")
    return f"{label}: read"
