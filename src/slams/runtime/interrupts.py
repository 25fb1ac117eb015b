"""Exit on an interrupt while there is nothing to close: at the start and at the end.

Only `os` is imported here: the handler is installed milliseconds after Python has started.
"""

from __future__ import annotations

import os

__all__ = ["leave_at_once"]

# 128 + SIGINT, as a shell reports it.
_INTERRUPTED = 130


def leave_at_once(signum: int, frame: object) -> None:
    """Handle SIGINT: print one line, and end the process without closing anything.

    An exception raised within an import does not always arrive unchanged: class bodies,
    extensions written in C and callbacks turn it into other errors, each with a traceback.

    Args:
        signum: The signal.
        frame: Current stack frame.
    """
    os.write(2, b"slams: interrupted\n")
    os._exit(_INTERRUPTED)
