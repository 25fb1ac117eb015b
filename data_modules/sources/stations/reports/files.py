"""Finding and opening the files of a station archive."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import TextIO

from slams.errors import UserError

__all__ = ["archive_files", "open_text"]


def archive_files(path: str, suffixes: tuple[str, ...], key: str) -> list[Path]:
    """Return the files of an archive, sorted by name.

    Args:
        path: A file, a directory, or a pattern with `*`.
        suffixes: Endings of the names of files in a directory.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: There is no such file.
    """
    if "*" in path:
        files = [Path(name) for name in sorted(glob(path))]
    elif Path(path).is_dir():
        files = sorted(p for p in Path(path).iterdir() if p.name.endswith(suffixes))
    else:
        files = [Path(path)] if Path(path).is_file() else []
    if not files:
        raise UserError(
            f"{key}.path: {path or 'nothing'} does not exist, expected a file, a directory with "
            f"{' or '.join(suffixes)} files, or a pattern with *"
        )
    return files


@contextmanager
def open_text(path: str | Path, key: str) -> Iterator[TextIO]:
    """Open a text file, plain or compressed with gzip.

    Args:
        path: The file.
        key: Dotted key of the recipe that names it, for messages.

    Raises:
        UserError: The file is missing, truncated, or not a gzip file although its name ends so.
    """
    try:
        opener = gzip.open if str(path).endswith(".gz") else open
        with opener(path, "rt", encoding="ascii", errors="replace", newline="") as file:
            yield file  # type: ignore[misc]
    except (OSError, EOFError) as error:
        raise UserError(f"{key}: {path} cannot be read, missing or truncated ({error})") from None
