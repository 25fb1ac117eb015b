"""The directory that a command writes into, as `--output` names it."""

from __future__ import annotations

from pathlib import Path

from slams.errors import UserError

__all__ = ["make_output"]


def make_output(output: Path) -> Path:
    """Make the directory that a command writes into, and return it.

    Args:
        output: The directory; it and those above it are made where they are missing.

    Raises:
        UserError: It is a file, or lies in one.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--output: {output} is or lies in a file, expected a directory") from None
    return output
