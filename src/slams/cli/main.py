"""The command line: `slams VERB RECIPE.yaml [key=value ...]`.

A verb is an object (`slams.cli.verb`) in a module of `slams.cli.verbs`. A recipe is read
and checked before anything heavy is imported. A mistake of the user ends in one sentence on
standard error and exit code 2, an interrupt in 130. Any other exception is a defect and shows its
traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from slams.cli.exits import INTERRUPTED, exit_lost, print_error, stop, stop_and_requeue
from slams.cli.parser import parse
from slams.cli.verbs import VERBS
from slams.plugins.admission import admit_plugins
from slams.runtime.failures import explain_failure, lost_rank
from slams.runtime.ranks import check_launcher
from slams.runtime.signals import Stopped, enable, install_handlers

__all__ = ["main"]

_REFUSED = 2
# Read once, when mlflow and the OpenMP runtime are first imported. Threads that wait by spinning
# make torch ten times slower when another process holds a core.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0, 2 for what the user can correct, 75 for a command that was stopped and
        continues when it is repeated, 69 where another rank was lost, 130 for an interrupt, 143
        for SIGTERM.
    """
    install_handlers()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # This warning concerns torch itself: torch.func.jvp uses torch.jit.script for rules of its
    # own.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated.*")
    places: list[Path] = []
    arguments: argparse.Namespace | None = None
    # Interrupts that arrive while an error is being explained are caught by the outer block.
    try:
        try:
            arguments = parse(sys.argv[1:] if argv is None else argv)
            if arguments is None:
                return _REFUSED
            enable()
            check_launcher()
            admit_plugins(getattr(arguments, "allow_plugin", ()), "--allow-plugin")
            VERBS[arguments.verb].run(arguments, places)
            sys.stdout.flush()  # a closed pipe fails here, not while Python exits
            return 0
        except BrokenPipeError:
            # The reader (`| head`) has closed the pipe; Python would report that again while it
            # exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:
            stopped = _stop_behind(error)
            if stopped is not None:
                raise stopped from None
            sentence = explain_failure(error, places)
            if sentence is None:
                raise
            if lost_rank(error):
                return exit_lost(sentence, arguments, process=argv is None)
            # On every rank: a file may be missing on one node alone, and where `LOCAL_RANK` is
            # left over in a shell, no process is rank zero and none would print.
            print_error(sentence, every_rank=True)
            return _REFUSED
    except KeyboardInterrupt:
        return stop("interrupted", INTERRUPTED, arguments, process=argv is None)
    except Stopped as stopped:
        return stop_and_requeue(stopped, arguments, process=argv is None)
    except SystemExit as error:
        # Lightning ends a fit on an interrupt and then exits with code 1.
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        return stop("interrupted", INTERRUPTED, arguments, process=argv is None)


def _stop_behind(error: BaseException | None) -> BaseException | None:
    """Return the interrupt or signal whose exception made a library raise an error of its own.

    A second signal in `threading.Condition.wait`, for example, leaves a lock that cannot be
    released.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt | Stopped):
        error = error.__context__
    return error
