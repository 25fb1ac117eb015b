"""Directories that one process at a time works in, and that are replaced as a whole.

The predecessor of a directory is kept next to it, hidden, until the new directory is worth
keeping. The lock file also lies next to the directory, so that moving the directory does not move
the lock.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import filelock

from slams.errors import UserError

__all__ = [
    "backup",
    "describe_backup",
    "drop_backup",
    "exclusive",
    "has_backup",
    "lock",
    "lock_file",
    "make",
    "remove_created",
    "restore",
    "unlock",
]


def make(path: Path) -> list[Path]:
    """Make a directory and its missing parents.

    Returns:
        The directories that were missing, parents first, for `remove_created`.
    """
    missing = [p for p in (*reversed(path.parents), path) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    return missing


def remove_created(made: Sequence[Path]) -> None:
    """Remove directories that `make` has made, unless something else is in them by now."""
    for directory in reversed(made):
        with contextlib.suppress(OSError):
            directory.rmdir()


def lock(path: Path, owner: Callable[[], str], patience: float = 0.0) -> filelock.FileLock:
    """Lock a directory for this process; the system frees the lock when the process dies.

    Args:
        path: The directory, which need not exist.
        owner: Returns the name of the lock's holder, for the message.
        patience: Seconds to wait for another process to release the lock.

    Raises:
        UserError: Another process holds the lock.
    """
    held = filelock.FileLock(lock_file(path))
    try:
        held.acquire(timeout=patience)
    except filelock.Timeout:
        raise UserError(
            f"{path} is in use by {owner()}; wait for it, stop it, or choose another name"
        ) from None
    return held


def lock_file(path: Path) -> Path:
    """Return the lock file of a directory, which lies next to it."""
    return path.with_name(f".{path.name}.lock")


def unlock(held: filelock.FileLock) -> None:
    """Release a lock and remove its file."""
    # While the lock is held: afterwards the file may belong to another process.
    Path(held.lock_file).unlink(missing_ok=True)
    held.release()


@contextlib.contextmanager
def exclusive(path: Path, patience: float = -1.0) -> Iterator[None]:
    """Hold a lock file while the block lasts, and remove it at the end.

    Args:
        path: The lock file, whose directory exists.
        patience: Seconds to wait for another process; negative to wait indefinitely.

    Raises:
        filelock.Timeout: Another process holds the lock.
    """
    while True:
        with contextlib.suppress(FileNotFoundError):  # its directory was removed with the lock
            path.parent.mkdir(exist_ok=True)
            held = filelock.FileLock(path)
            held.acquire(timeout=patience)
            break
    try:
        yield
    finally:
        unlock(held)


def backup(path: Path) -> None:
    """Move a directory, if it exists, to its backup, until its successor is worth keeping."""
    if path.exists():
        drop_backup(path)  # left by a process that was killed while it replaced an earlier one
        path.rename(_backup_path(path))


def has_backup(path: Path) -> bool:
    """Return whether a directory has a backup of its predecessor."""
    return _backup_path(path).exists()


def describe_backup(path: Path) -> str:
    """Return a clause for messages: where the backup of a directory is, and how to restore it.

    Args:
        path: The directory.

    Returns:
        The clause, with a semicolon before it; empty where there is no backup.
    """
    if not has_backup(path):
        return ""
    new, old = shlex.quote(str(path)), shlex.quote(str(_backup_path(path)))
    return f"; the directory that it replaces is kept: rm -r {new} && mv {old} {new} restores it"


def drop_backup(path: Path) -> None:
    """Remove the backup of a directory."""
    _remove(_backup_path(path))


def restore(path: Path) -> None:
    """Remove a directory, and restore its backup if there is one."""
    _remove(path)
    if _backup_path(path).exists():
        _backup_path(path).rename(path)


def _backup_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
