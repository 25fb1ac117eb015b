"""Signals that ask a run to stop: noted at once, acted on where nothing is lost.

SLURM sends SIGUSR1 some minutes before the time is up (`#SBATCH --signal`) and SIGTERM when it
takes a job off its nodes; people send SIGTERM. What a signal does depends on where the program is:

* from the first line of the program to the start of a verb it is noted, since Python without a
  handler would die of it, and acted on when the verb starts;
* while modules are imported (`importing`) it is noted, and acted on at the end;
* while a training runs (`deferred`) it is noted; the training looks at the end of each batch,
  agrees with its other ranks, saves and raises `Stopped`. Nothing else happens in the handler:
  a collective there waits for ranks that have not got the signal;
* everywhere else `Stopped` is raised where the program stands, and so is it by a second SIGTERM.
  Python discards what is raised in a destructor or a weak reference's callback: the signal is
  then sent again.

The standard library alone is imported here: a signal may come before torch is loaded.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from slams.runtime.interrupts import leave_at_once

__all__ = [
    "LOST",
    "STOPPED",
    "Stopped",
    "begin",
    "deferred",
    "held_back",
    "importing",
    "listen",
    "noted",
    "seconds_running",
]

# Exit codes of what can go on (sysexits.h): it was stopped, EX_TEMPFAIL, or another rank is gone,
# EX_UNAVAILABLE.
STOPPED = 75
LOST = 69
# Seconds after which a signal is sent again, when the destructor that it met has ended.
_PAUSE = 0.01


class Stopped(SystemExit):
    """Ends the program in good order, so that its run is recorded as killed and can go on.

    Args:
        reason: What stopped it, in words.
        signum: The signal; 0 where it was the recipe's `trainer.max_time`.
        saved: Whether there is a checkpoint from this attempt.

    Attributes:
        reason: As above.
        signum: As above.
        saved: As above.
    """

    def __init__(self, reason: str, signum: int = 0, saved: bool = False) -> None:
        super().__init__(128 + signum if signum == signal.SIGTERM else STOPPED)
        self.reason = reason
        self.signum = signum
        self.saved = saved


class _Listener:
    """Holds what signals have come, and what to do about the next one.

    A process has one table of signals, and so one listener.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.signum = 0
        self.terminations = 0
        self.raises = False
        self.holds = 0
        # Whether the process runs the command line and nothing else.
        self.own_process = False

    def receive(self, signum: int, frame: object) -> None:
        self.signum = signum
        self.terminations += signum == signal.SIGTERM
        if self.terminations > 1 or (self.raises and not self.holds):
            self.stop()

    def send_again(self, lost: sys.UnraisableHookArgs) -> None:
        """Send a signal again whose exception Python could not raise; show any other one."""
        error = lost.exc_value
        if isinstance(error, Stopped):
            signum = error.signum
            self.holds -= 1
            self.terminations -= signum == signal.SIGTERM
        elif isinstance(error, KeyboardInterrupt):
            signum = signal.SIGINT
        else:
            sys.__unraisablehook__(lost)
            return
        # To the main thread, which it wakes where it waits.
        main = threading.main_thread().ident
        again = threading.Timer(_PAUSE, signal.pthread_kill, [main, signum])
        again.daemon = True
        again.start()

    def stop(self) -> None:
        signum, self.signum = self.signum, 0
        self.holds += 1  # runs are being closed from here on: the next signal does not cut that
        raise Stopped(signal.Signals(signum).name, signum)


_listener = _Listener()


def listen() -> None:
    """Note signals from now on; to be called first of all. Calling it again changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        return  # Python lets the main thread alone handle signals
    for signum in (signal.SIGTERM, signal.SIGUSR1):
        if signal.getsignal(signum) != _listener.receive:
            signal.signal(signum, _listener.receive)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _listener.send_again


def begin() -> None:
    """Let signals end the program from now on, and interrupts raise `KeyboardInterrupt`.

    Raises:
        Stopped: One has come already.
    """
    if signal.getsignal(signal.SIGINT) is leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _listener.own_process = True
    _listener.raises, _listener.holds = True, 0
    _listener.terminations = int(_listener.signum == signal.SIGTERM)
    if _listener.signum:
        _listener.stop()


@contextmanager
def deferred() -> Iterator[None]:
    """Only note signals while the block lasts, which asks `noted` and stops by itself.

    Raises:
        Stopped: At the end of the block, when a signal has come that was not acted on.
    """
    _listener.holds += 1
    try:
        yield
    except BaseException:  # on the way out, and still held: runs are being closed
        _listener.signum = 0
        raise
    _listener.holds -= 1
    if _listener.signum and _listener.raises:
        _listener.stop()


@contextmanager
def importing() -> Iterator[None]:
    """Leave at once on an interrupt, and hold signals back, while the block imports modules.

    To be used around imports that take long (torch, Lightning), before a run is opened. Called
    from other programs than the command line it leaves interrupts as they are.

    Raises:
        Stopped: At the end of the block, when a signal has come meanwhile.
    """
    swapped = (
        _listener.own_process
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if swapped:
        signal.signal(signal.SIGINT, leave_at_once)
    _listener.holds += 1
    try:
        yield
    finally:
        _listener.holds -= 1
        if swapped:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if _listener.signum and _listener.raises and not _listener.holds:
        _listener.stop()


@contextmanager
def held_back() -> Iterator[None]:
    """Hold interrupts and signals to stop back while the block lasts; they come at its end.

    For some milliseconds of a library that turns them into errors of its own: OmegaConf, told to
    stop within `create`, raises `ConfigKeyError`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # where no signal is handled
        return
    came: list[int] = []
    before = {
        signum: signal.signal(signum, lambda number, _: came.append(number))
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        for signum in came:
            signal.raise_signal(signum)


def noted() -> int:
    """Return the last signal that has come; 0 if there was none."""
    return _listener.signum


def seconds_running() -> float:
    """Return the seconds since the program was started."""
    return time.monotonic() - _listener.started
