"""Messages for failures that a user can correct; any other failure is a defect."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from slams.errors import UserError

__all__ = ["FULL", "TOO_LARGE", "causes", "explain_failure", "lost_rank", "refused_write"]

# Why a write was refused.
FULL = "no space left on the device"
TOO_LARGE = "a file would be larger than this process may write"

# A disk that has refused a write may still have room for something smaller (bytes).
_NOTHING = 16 * 2**20
# Errors of the operating system about a path itself.
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FILES = (errno.EMFILE, errno.ENFILE)
# Errors of disks.
_MACHINE = (errno.EIO, errno.ESTALE, errno.ENODEV, errno.EBUSY)
# Messages of Python, torch and the operating system when memory or threads are exhausted.
_MEMORY_WORDS = (
    "can't start new thread",
    "can't allocate memory",
    "Cannot allocate memory",
    "Resource temporarily unavailable",
    "failed to map segment from shared object",
)
# Messages of gloo, NCCL and their store when the process at the other end is gone.
_LOST_WORDS = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "failed to recv, got 0 bytes",
    "remote process exited",
    "NCCL communicator was aborted",
    "Timed out waiting",
    "Socket Timeout",
)
# sqlite and libraries written in C report a full disk in their own words.
_FILES_WORDS = os.strerror(errno.EMFILE)
_FULL_WORDS = ("No space left on device", "database or disk is full", "Disk quota exceeded")
# numpy's message for an array that was written in part, without an error number.
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")


def explain_failure(error: BaseException, places: Sequence[Path] = ()) -> str | None:
    """Return one sentence for a failure that the user can correct.

    Args:
        error: Exception that escaped from a command.
        places: Where the command writes; a failed write does not state which disk it was on.

    Returns:
        The sentence, or `None` when the reader needs the traceback.
    """
    if isinstance(error, UserError) and any(why in str(error) for why in (FULL, TOO_LARGE)):
        return _sentence(error)  # its message is more specific
    # Libraries wrap a failed write, a failed import and a refused thread in errors of their own.
    for cause in causes(error):
        sentence = _exhausted(cause, places)
        # A refusal explains itself, unless it followed from a limit.
        if sentence and not (isinstance(error, UserError) and _is_memory(cause)):
            return sentence
    if isinstance(error, UserError):
        return _sentence(error)
    if lost_rank(error):
        words = next(words for words in _LOST_WORDS if words in str(error))
        return (
            f"lost the connection to another rank ({words}): a node or a process of this run is "
            f"gone; its last messages are in the log"
        )
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{_path_of(error)} does not exist"
    if isinstance(error, NotADirectoryError | FileExistsError) and error.filename:
        return f"{_path_of(error)} cannot be made a directory: a file of that name is in the way"
    if isinstance(error, OSError) and error.errno in _NO_PATH:
        why = os.strerror(error.errno).lower()
        return f"the path{_path_of(error, ' ')} cannot be used: {why}; choose another one"
    if isinstance(error, IsADirectoryError) and error.filename:
        return f"{_path_of(error)} is a directory, expected a file; move it away"
    if isinstance(error, OSError) and error.errno in _MACHINE:
        why = os.strerror(error.errno).lower()
        return f"{why}{_path_of(error, ' while using ')}; repair it, then repeat the command"
    if type(error).__module__.partition(".")[0] in ("mlflow", "sqlalchemy", "alembic"):
        return (
            f"the tracking store cannot be used any more ({_first_line(error)}); repair it, "
            f"or set tracking.enabled=false"
        )
    if isinstance(error, PermissionError) or (
        isinstance(error, OSError) and error.errno == errno.EROFS
    ):
        return f"no permission to read or write{_path_of(error, ' ')}" if error.filename else None
    return None


def refused_write(error: BaseException) -> str | None:
    """Return why a file could not be written: `FULL`, `TOO_LARGE`, or `None` for other failures.

    Args:
        error: Exception that was raised; its causes are searched too.
    """
    return next(filter(None, map(_refused_write, causes(error))), None)


def lost_rank(error: BaseException) -> bool:
    """Return whether a collective failed because another rank is gone.

    The message decides: torch raises a bare RuntimeError with gloo, and one of several types with
    NCCL.
    """
    module = type(error).__module__
    distributed = type(error) is RuntimeError or module.startswith("torch")
    return distributed and any(words in str(error) for words in _LOST_WORDS)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate over an error and its causes.

    Args:
        error: The error, which comes first.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _refused_write(cause: BaseException) -> str | None:
    number = cause.errno if isinstance(cause, OSError) else None
    if number in _FULL or any(words in str(cause) for words in _FULL_WORDS):
        return FULL
    if number == errno.EFBIG:
        return TOO_LARGE
    if isinstance(cause, OSError) and _CUT_SHORT.search(str(cause)):
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        return FULL if limit == resource.RLIM_INFINITY else TOO_LARGE
    return None


def _is_memory(cause: BaseException) -> bool:
    return isinstance(cause, MemoryError) or any(words in str(cause) for words in _MEMORY_WORDS)


def _exhausted(cause: BaseException, places: Sequence[Path]) -> str | None:
    """Return a sentence for a disk or a limit of the process that is exhausted."""
    refused = _refused_write(cause)
    if refused == FULL:
        # The name may be that of a temporary file that could not be moved to a full disk.
        where = _full_place(places) or _path_of(cause, " while writing ")
        return f"{FULL}{where}; free some, or set the keys 'runs' and 'data.store' to another disk"
    if refused == TOO_LARGE:
        return (
            f"{TOO_LARGE}{_path_of(cause, ' while writing ')}; raise the limit (`ulimit -f`), or "
            f"set the keys 'runs' and 'data.store' to another disk"
        )
    if (isinstance(cause, OSError) and cause.errno in _FILES) or _FILES_WORDS in str(cause):
        return (
            f"too many open files: this process may open "
            f"{resource.getrlimit(resource.RLIMIT_NOFILE)[0]}; raise the limit (`ulimit -n`), "
            f"or lower data.num_workers"
        )
    if _is_memory(cause):
        return (
            f"the memory that this process may use is exhausted ({_first_line(cause)}); raise the "
            f"limit (ulimit -v, a job's --mem), end other programs, or make batches smaller"
        )
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _path_of(error: BaseException, before: str = "") -> str:
    name = getattr(error, "filename", None)
    return f"{before}{name}" if name else ""


def _full_place(places: Sequence[Path]) -> str:
    """Return the place whose disk is almost full, for the message."""
    for place in places:
        there = next((p for p in (place, *place.resolve().parents) if p.exists()), None)
        if there is not None and shutil.disk_usage(there).free < _NOTHING:
            return f" of {place}"
    return ""


def _sentence(error: UserError) -> str:
    """Extract the sentence from the text that a DataLoader worker adds: its whole traceback."""
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1].partition("UserError: ")[2]
    # A reason from a library, or a name from a file, may span several lines.
    return " ".join(text.split())
