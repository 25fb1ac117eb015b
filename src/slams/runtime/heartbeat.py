"""A line every few seconds about what a command is doing while it prints nothing else."""

from __future__ import annotations

import sys
import threading
import time
from typing import Self

from slams.runtime.ranks import is_rank_zero

__all__ = ["Heartbeat"]


class Heartbeat:
    """Printer of what is being done, in a thread of its own, until the block ends.

    A context manager. Only rank zero prints, on standard error.

    Args:
        name: Prefix of each line, for example the verb.
        seconds: Seconds between two lines, and before the first.
        doing: Description of the first activity.
    """

    def __init__(self, name: str, seconds: float, doing: str = "") -> None:
        self._name = name
        self._seconds = seconds
        self._doing = doing
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def note(self, doing: str) -> None:
        """Set the description of the current activity.

        Args:
            doing: The activity, for example `fitting letkf`.
        """
        self._doing = doing

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            seconds = time.monotonic() - self._started
            print(f"{self._name}: {self._doing}, {seconds:.0f} s", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if is_rank_zero():
            self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended.set()
