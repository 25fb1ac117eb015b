"""The program: `slams`, or `python -m slams`.

Signals are listened to before anything else is imported, which takes seconds on a cluster's file
system: SLURM may send one at any time, and so may a user who presses Ctrl-C at once.
"""

from __future__ import annotations

import sys

__all__ = ["run"]


def run() -> int:
    """Run one command with the arguments of the process; return the exit code."""
    # The part of `signal` that is built into Python: until interrupts are handled each shows a
    # traceback, and `signal` itself takes several milliseconds to import.
    import _signal

    from slams.runtime.interrupts import leave_at_once

    # Not where it is ignored, as in what a shell starts in the background.
    handled = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    if handled:
        _signal.signal(_signal.SIGINT, leave_at_once)
    from slams.runtime.signals import listen

    listen()
    from slams.cli.main import main

    try:
        return main()
    finally:
        if handled:  # Python takes a while to exit, and nothing is left to be interrupted
            _signal.signal(_signal.SIGINT, leave_at_once)


if __name__ == "__main__":
    sys.exit(run())
