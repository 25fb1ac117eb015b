"""Files that are written completely or not at all, even if the writing process is killed."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["remove_store", "replacing", "replacing_store", "write_text"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Return a temporary path next to `path` that replaces it when the block ends normally.

    When the block raises, the temporary file is removed and `path` is unchanged. The temporary
    file keeps the suffix, since some writers choose their format by it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:  # on disk before the name points to it
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing_store(path: str | Path) -> Iterator[Path]:
    """Return the path of a Zarr store that replaces `path` when the block ends normally.

    When the block raises, what was written is removed and `path` is unchanged; what a killed
    process has left is removed at the next attempt.
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()  # a directory cannot take the place of a link, which stays
    part = path.with_name(f".{path.stem}.tmp{path.suffix}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        yield part
    except BaseException:
        remove_store(part)
        raise
    shutil.rmtree(path, ignore_errors=True)
    part.rename(path)


def remove_store(path: str | Path) -> None:
    """Remove a Zarr store after writing it has failed.

    Zarr writes several files at a time in a thread of its own, and raises at the first failure:
    the other writes, still in progress, would create the directory again after its removal.
    """
    from zarr.core.sync import sync

    async def rest() -> None:
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*others, return_exceptions=True)

    sync(rest())
    shutil.rmtree(path, ignore_errors=True)
