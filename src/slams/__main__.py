"""The program: `slams`, or `python -m slams`.

Signals are listened to before anything else is imported, which takes seconds on a cluster's file
system: SLURM may send one at any time.
"""

from __future__ import annotations

import sys

from slams.runtime.signals import listen

__all__ = ["run"]


def run() -> int:
    """Runs one command with the arguments of the process; gives the exit code."""
    listen()
    from slams.cli.main import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
