"""Leave on an interrupt while there is nothing to close: at the start and at the end.

Nothing but `os` is imported here: this is in place some milliseconds after Python has started.
"""

from __future__ import annotations

import os

__all__ = ["leave_at_once"]

# 128 + SIGINT, as a shell reports it.
_INTERRUPTED = 130


def leave_at_once(signum: int, frame: object) -> None:
    """Handle SIGINT: say so, and end the process without closing anything.

    An exception raised within an import does not always arrive as what it was: class bodies,
    extensions written in C and callbacks make other errors of it, each with a traceback.

    Args:
        signum: The signal.
        frame: Where the program stood.
    """
    os.write(2, b"slams: interrupted\n")
    os._exit(_INTERRUPTED)
