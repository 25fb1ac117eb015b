"""The program: `slams`, or `python -m slams`.

Signal handlers are installed before anything else is imported, which takes seconds on a cluster's
file system: SLURM may send a signal at any time, and a user may press Ctrl-C at once.
"""

from __future__ import annotations

import sys

__all__ = ["run"]


def run() -> int:
    """Run one command with the arguments of the process; return the exit code."""
    # `_signal` is built into Python, whereas `signal` takes several milliseconds to import; until
    # the handler is installed, every interrupt shows a traceback.
    import _signal

    from slams.runtime.interrupts import leave_at_once

    # No handler where SIGINT is ignored, as in processes that a shell starts in the background.
    handled = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    if handled:
        _signal.signal(_signal.SIGINT, leave_at_once)
    from slams.runtime.signals import install_handlers

    install_handlers()
    from slams.cli.main import main

    try:
        return main()
    finally:
        if handled:  # Python takes a while to exit, and no work is left to interrupt
            _signal.signal(_signal.SIGINT, leave_at_once)


if __name__ == "__main__":
    sys.exit(run())
