"""The directory of a command's output, given by `--output`."""

from __future__ import annotations

from pathlib import Path

from slams.errors import UserError

__all__ = ["make_output"]


def make_output(output: Path) -> Path:
    """Make the directory of a command's output, and return it.

    Args:
        output: The directory; it and its parents are made where they are missing.

    Raises:
        UserError: It is a file, or lies in one.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--output: {output} is or lies in a file, expected a directory") from None
    return output
