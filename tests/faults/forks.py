"""Commands in children of one process that has imported everything once.

A child is forked for each command, which saves ten to fifteen seconds of imports; it then runs the
program from its first line, as `python -m slams` does, with the signals of a new process. The
parent never starts a thread, nor runs a command itself: a child has only the thread that forks.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Outcome", "call", "choose_signals", "import_everything", "run"]

# Everything that verbs import when they start.
_MODULES = (
    "lightning.pytorch",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "pandas",
    "torch",
    "zarr",
    "slams.__main__",
    "slams.cli.main",
    "slams.comparison.compare",
    "slams.stages.assimilation",
    "slams.stages.model",
    "slams.stages.model_files",
    "slams.stages.reporting",
    "slams.stages.sources",
    "slams.stages.training",
    "slams.sweeps.ablation",
    "slams.tracking.mlflow_logger",
    "slams.tracking.sync",
    "data_modules.nature_run.simulate",
    "data_modules.preparation.prepare",
)
# No command of these recipes takes longer, however busy the machine is (s).
_PATIENCE = 600.0


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    Attributes:
        code: Exit code; minus the number of the signal that ended it.
        seconds: How long it ran.
        hit: Whether it was still at work when the signals came.
        output: What it printed.
    """

    code: int
    seconds: float
    hit: bool
    output: str


def import_everything() -> None:
    """Import what all verbs need, and check that no thread was started by it."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name in _MODULES:
        importlib.import_module(name)
    threads = {
        (task / "comm").read_text().strip()
        for task in Path("/proc/self/task").glob("*")
        if task.name != str(os.getpid())
    }
    # An allocator's own, which knows of forks.
    threads -= {"jemalloc_bg_thd"}
    if threads or threading.active_count() > 1:
        print(f"imports have started threads ({threads}), children may hang")


def run(
    words: Sequence[str],
    directory: Path,
    signals: Sequence[signal.Signals] = (),
    after: float = 0.0,
) -> Outcome:
    """Run a command in a child, and send it signals.

    Args:
        words: Verb, recipe and overrides.
        directory: Working directory.
        signals: What is sent, one right after the other.
        after: Seconds after which they are sent.
    """
    log = directory / ".output.log"
    log.touch()  # it may be killed before it opens its own
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become(words, directory, log)
    done, status = False, 0
    while not done and signals and time.monotonic() < started + after:
        done, status = _look(pid)
        time.sleep(0.002)
    hit = bool(signals) and not done
    for signum in signals if hit else ():
        os.kill(pid, signum)
    while not done:
        done, status = _look(pid)
        if not done and time.monotonic() > started + _PATIENCE:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    text = log.read_text(errors="replace")
    log.unlink()
    if seconds > _PATIENCE:
        text += f"\n(hung: it was ended after {_PATIENCE:.0f} s)"
    return Outcome(code, seconds, hit, text)


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a child, since it may start threads; return what it gives, as JSON.

    Raises:
        RuntimeError: It raised something, which was printed.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            with os.fdopen(write, "w") as pipe:
                json.dump(function(*arguments), pipe)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"{function.__name__} failed")
    return json.loads(text)


def choose_signals(rng: random.Random) -> list[signal.Signals]:
    """Draw what a command is sent: one signal, or two at once."""
    kinds = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    return rng.sample(kinds, 2) if rng.random() < 0.2 else [rng.choice(kinds)]


def _look(pid: int) -> tuple[bool, int]:
    found, status = os.waitpid(pid, os.WNOHANG)
    return found == pid, status


def _become(words: Sequence[str], directory: Path, log: Path) -> None:
    """Be a new process of the program; never returns."""
    code = 1
    try:
        os.setsid()
        out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        for signum in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(directory)
        sys.argv = ["slams", *words]
        from slams.__main__ import run as program

        code = program()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
