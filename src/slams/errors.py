"""The one exception of this project for mistakes that a user can correct."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(ValueError):
    """Says in one sentence what is wrong in a recipe, a file or a request.

    The sentence names the key, file, variable or date, what was found, what was expected and,
    where it is not obvious, what to do. The command line prints it without a traceback and
    exits with code 2; anything else that escapes is a defect of the program.
    """
