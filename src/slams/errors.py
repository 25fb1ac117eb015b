"""The exception of this project for mistakes that a user can correct, and its hints."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

__all__ = ["UserError", "first_line", "install_extra", "nearest"]


class UserError(ValueError):
    """Error in a recipe, a file or a request, described in one sentence for the user.

    The sentence names the key, file, variable or date, what was found, what was expected and,
    where it is not obvious, what to do. The command line prints it without a traceback and
    exits with code 2; any other exception that reaches the user is a defect of the program.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of a library's exception, for a sentence that quotes it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def install_extra(name: str) -> str:
    """Return the hint to install an extra; the package is installed from a clone, not an index."""
    return f"run pip install -e '.[{name}]' in the clone of slams"


def nearest(name: str, names: Sequence[str]) -> str:
    """Return a hint: the most similar of some names, or all of them if none is similar."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {found[0]!r}?" if found else f"expected one of {', '.join(names)}"
