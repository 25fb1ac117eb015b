"""Signals that request a stop: recorded at once, acted on where nothing is lost.

SLURM sends SIGUSR1 some minutes before the time limit (`#SBATCH --signal`) and SIGTERM when it
removes a job from its nodes; users send SIGTERM. The effect depends on what the program is doing:

* from the first line of the program to the start of a verb, a signal is recorded, because Python
  without a handler would end, and is acted on when the verb starts;
* while modules are imported (`importing`), it is recorded, and acted on at the end of the import;
* while a training runs (`defer`), it is recorded; the training checks `pending` at the end of each
  batch, agrees with its other ranks, saves and raises `Stopped`. The handler does nothing else:
  a collective there would wait for ranks that have not received the signal;
* everywhere else, and after a second SIGTERM, `Stopped` is raised at the current statement. Python
  discards exceptions that are raised in a destructor or a weak reference's callback: the signal is
  then sent again.

Only the standard library is imported here: a signal may arrive before torch is loaded.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import functools
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from slams.runtime.interrupts import leave_at_once

__all__ = [
    "LOST",
    "Stopped",
    "defer",
    "enable",
    "hold_back",
    "importing",
    "install_handlers",
    "pending",
    "seconds_running",
]

# Exit codes of commands that can be continued (sysexits.h): EX_TEMPFAIL for one that was stopped,
# EX_UNAVAILABLE where another rank is gone.
_STOPPED = 75
LOST = 69
# Seconds after which a signal is sent again whose exception was lost in a destructor.
_PAUSE = 0.01


class Stopped(SystemExit):
    """Exception that ends the program in good order: its run is recorded as killed and can resume.

    Args:
        reason: What stopped the program, in words.
        signum: The signal; 0 where `trainer.max_time` of the recipe was reached.
        saved: Whether there is a checkpoint from this attempt.

    Attributes:
        reason: As above.
        signum: As above.
        saved: As above.
    """

    def __init__(self, reason: str, signum: int = 0, saved: bool = False) -> None:
        super().__init__(128 + signum if signum == signal.SIGTERM else _STOPPED)
        self.reason = reason
        self.signum = signum
        self.saved = saved


class _Handler:
    """Handler of signals, with those that have arrived and what the next one does.

    A process has one table of signals, and therefore one handler.

    Attributes:
        started: Time of the import of this module (s, monotonic).
        signum: Last signal that was not acted on; 0 if there is none.
        terminations: Number of SIGTERM so far.
        raises: Whether signals end the program, see `enable`.
        holds: Number of blocks in progress that defer signals.
        own_process: Whether the process runs nothing but the command line.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.signum = 0
        self.terminations = 0
        self.raises = False
        self.holds = 0
        self.own_process = False

    def handle(self, signum: int, frame: object) -> None:
        """Record a signal, and stop where signals end the program."""
        self.signum = signum
        self.terminations += signum == signal.SIGTERM
        # On the way out of an interrupt a second exception would leave locks of libraries in a
        # state of which they make errors of their own.
        leaving = isinstance(sys.exc_info()[1], KeyboardInterrupt)
        if self.terminations > 1 or (self.raises and not self.holds and not leaving):
            self.stop()

    def resend(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
        message: str | None,
        where: object,
    ) -> None:
        """Send a signal again whose exception Python discarded; report any other exception.

        Arguments as of `sys.unraisablehook`.
        """
        # An exception here would be discarded too, and come back to this function for ever.
        with contextlib.suppress(BaseException):
            if isinstance(error, Stopped):
                signum = error.signum
                self.holds -= 1
                self.terminations -= signum == signal.SIGTERM
            elif isinstance(error, KeyboardInterrupt):
                signum = signal.SIGINT
            else:
                lines = traceback.format_exception(kind, error, trace)
                print(f"{message or 'Exception ignored in'}: {where!r}", file=sys.stderr)
                print("".join(lines), file=sys.stderr, end="", flush=True)
                return
            time.sleep(_PAUSE)
            # To the main thread, which it wakes from a blocking call.
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signum)

    def stop(self) -> None:
        """Raise `Stopped` for the recorded signal."""
        signum, self.signum = self.signum, 0
        # Runs are being closed from here on: the next signal must not interrupt that.
        self.holds += 1
        raise Stopped(signal.Signals(signum).name, signum)


_handler = _Handler()


def install_handlers() -> None:
    """Record signals from now on; to be called first. Calling it again changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        return  # Python handles signals only in the main thread
    for signum in (signal.SIGTERM, signal.SIGUSR1):
        if signal.getsignal(signum) != _handler.handle:
            signal.signal(signum, _handler.handle)
    if sys.unraisablehook is sys.__unraisablehook__:
        # In another thread, started without a line of Python in this one: what a second signal
        # raises in a hook is lost for good.
        sys.unraisablehook = functools.partial(_thread.start_new_thread, _handler.resend)
        atexit.register(setattr, sys, "unraisablehook", sys.__unraisablehook__)


def enable() -> None:
    """Let signals end the program from now on, and interrupts raise `KeyboardInterrupt`.

    Raises:
        Stopped: A signal has arrived already.
    """
    if signal.getsignal(signal.SIGINT) is leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _handler.own_process = True
    _handler.raises, _handler.holds = True, 0
    _handler.terminations = int(_handler.signum == signal.SIGTERM)
    if _handler.signum:
        _handler.stop()


@contextmanager
def defer() -> Iterator[None]:
    """Only record signals while the block lasts; the block checks `pending` and stops itself.

    Raises:
        Stopped: At the end of the block, if a signal has arrived that was not acted on.
    """
    _handler.holds += 1
    try:
        yield
    except BaseException:  # signals stay deferred on the way out: runs are being closed
        _handler.signum = 0
        raise
    _handler.holds -= 1
    if _handler.signum and _handler.raises:
        _handler.stop()


@contextmanager
def importing() -> Iterator[None]:
    """Exit at once on an interrupt, and defer signals, while the block imports modules.

    To be used around slow imports (torch, Lightning), before a run is opened. In programs other
    than the command line, interrupts are handled as before.

    Raises:
        Stopped: At the end of the block, if a signal has arrived in the meantime.
    """
    swapped = (
        _handler.own_process
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if swapped:
        signal.signal(signal.SIGINT, leave_at_once)
    _handler.holds += 1
    try:
        yield
    finally:
        _handler.holds -= 1
        if swapped:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if _handler.signum and _handler.raises and not _handler.holds:
        _handler.stop()


@contextmanager
def hold_back() -> Iterator[None]:
    """Hold back interrupts and signals while the block lasts; deliver them at its end.

    For a few milliseconds in a library that turns them into errors of its own: OmegaConf, when
    stopped within `create`, raises `ConfigKeyError`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal is handled here
        return
    arrived: list[int] = []
    before = {
        signum: signal.signal(signum, lambda number, _: arrived.append(number))
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        for signum in arrived:
            signal.raise_signal(signum)


def pending() -> int:
    """Return the last signal that was not acted on; 0 if there is none."""
    return _handler.signum


def seconds_running() -> float:
    """Return the seconds since the program was started."""
    return time.monotonic() - _handler.started
