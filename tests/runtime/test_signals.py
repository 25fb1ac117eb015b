"""Signals: noted from the first moment, acted on where nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import pytest

import slams

# What a process prints for each piece of code, with `send(signum)` at hand.
PREAMBLE = """
import os, signal
from slams.runtime import signals
def send(signum):
    os.kill(os.getpid(), signum)
# A shell has what it starts in the background ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signals.install_handlers()
"""


def run(code: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": slams.__path__[0] + "/.."},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.strip()


def test_before_a_verb_starts_a_signal_is_noted_and_then_acted_on() -> None:
    code, said = run(
        """
        send(signal.SIGUSR1)
        print("still here", signals.pending() == signal.SIGUSR1)
        try:
            signals.enable()
        except signals.Stopped as stopped:
            print(stopped.reason, stopped.signum == signal.SIGUSR1, stopped.saved)
            raise
        """
    )
    assert (code, said) == (75, "still here True\nSIGUSR1 True False")


def test_while_a_training_runs_it_is_only_noted() -> None:
    code, said = run(
        """
        signals.enable()
        try:
            with signals.defer():
                send(signal.SIGUSR1)
                print("in the batch", signals.pending() == signal.SIGUSR1)
        except signals.Stopped as stopped:
            print("after it", stopped.reason)
        """
    )
    assert (code, said) == (0, "in the batch True\nafter it SIGUSR1")


def test_elsewhere_it_ends_the_program() -> None:
    code, _ = run("signals.enable(); send(signal.SIGTERM); print('unreachable')")
    assert code == 128 + signal.SIGTERM


def test_whoever_means_it_says_sigterm_twice() -> None:
    code, said = run(
        """
        signals.enable()
        with signals.defer():
            send(signal.SIGTERM)
            print("noted", flush=True)
            send(signal.SIGTERM)
            print("unreachable")
        """
    )
    assert (code, said) == (128 + signal.SIGTERM, "noted")


def test_what_was_acted_on_is_not_acted_on_again() -> None:
    """A fit that has raised for the signal leaves no second exception behind."""
    code, said = run(
        """
        signals.enable()
        try:
            with signals.defer():
                send(signal.SIGUSR1)
                raise signals.Stopped("SIGUSR1", signal.SIGUSR1, saved=True)
        except signals.Stopped as stopped:
            print(stopped.saved)
        """
    )
    assert (code, said) == (0, "True")


@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM])
def test_the_program_listens_before_it_imports(sent: signal.Signals, tmp_path) -> None:
    """A signal that comes while the program is loading does not kill it as it kills Python."""
    code = (
        "import os, sys, types\n"
        "class Late:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'slams.cli.main': os.kill(os.getpid(), {int(sent)})\n"
        "sys.meta_path.insert(0, Late())\n"
        "from slams.__main__ import run\n"
        "sys.exit(run())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "config", "print", "--keys"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": slams.__path__[0] + "/.."},
    )
    assert done.returncode == (143 if sent == signal.SIGTERM else 75), done.stderr
    assert "the same command does it again" in done.stderr
    assert done.stdout == ""


def test_the_clock_starts_with_the_program() -> None:
    from slams.runtime.signals import seconds_running

    before = seconds_running()
    time.sleep(0.01)
    assert seconds_running() >= before + 0.01


def test_what_is_held_back_comes_at_the_end_of_the_block() -> None:
    code, said = run(
        """
        try:
            with signals.hold_back():
                send(signal.SIGINT)
                print("whole")
            print("never")
        except KeyboardInterrupt:
            print("interrupted")
        try:
            with signals.hold_back():
                send(signal.SIGINT)
                raise ValueError
        except KeyboardInterrupt:
            print("refused")
        with signals.hold_back():
            send(signal.SIGUSR1)
        print(signals.pending() == signal.SIGUSR1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with signals.hold_back():
            send(signal.SIGINT)
        print("ignored")
        """
    )
    assert (code, said.split()) == (0, ["whole", "interrupted", "refused", "True", "ignored"])


@pytest.mark.parametrize("write", ["to_yaml(Config())", "load(None, [])"])
def test_an_interrupt_while_a_recipe_is_read_or_written_stays_one(write: str) -> None:
    """OmegaConf would make a `ConfigKeyError` of some of them."""
    code, said = run(
        f"""
        from slams.config.loading import load, to_yaml
        from slams.config.schema import Config
        {write}
        ended = []
        for step in range(1, 60):
            try:
                signal.setitimer(signal.ITIMER_REAL, step * 1e-3)
                signal.signal(signal.SIGALRM, lambda *_: send(signal.SIGINT))
                while True:
                    {write}
            except KeyboardInterrupt:
                ended.append(step)
        print(len(ended))
        """
    )
    assert (code, said) == (0, "59")


@pytest.mark.parametrize("names", ["SIGUSR1", "SIGTERM", "SIGINT", "SIGUSR1 SIGINT"])
def test_a_signal_that_meets_a_destructor_is_not_lost(names: str) -> None:
    """Python discards what is raised in a destructor, and goes on."""
    code, said = run(
        f"""
        import os, time
        class Dying:
            def __del__(self):
                for name in {names.split()}:
                    # At once: the handler of the second one runs as soon as the first has raised.
                    signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name)])
                    os.kill(os.getpid(), getattr(signal, name))
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                time.sleep(0.001)  # the handlers run here
        signals.enable()
        try:
            Dying()
            print("went on", flush=True)
            time.sleep(20)
            print("lost")
        except (signals.Stopped, KeyboardInterrupt) as stopped:
            print(type(stopped).__name__, flush=True)
            os._exit(7)
        """
    )
    assert (code, said.split()[-1]) in [(7, "KeyboardInterrupt"), (7, "Stopped")]
    assert names == "SIGUSR1 SIGINT" or ("SIGINT" in names) == ("KeyboardInterrupt" in said)


def test_another_error_of_a_destructor_is_reported_once() -> None:
    code, said = run(
        """
        import sys, time
        sys.stderr = sys.stdout
        class Dying:
            def __del__(self):
                raise ValueError("a defect")
        Dying()
        time.sleep(0.5)
        """
    )
    assert code == 0
    assert said.count("ValueError: a defect") == 1
    assert "ignored in" in said


def test_a_signal_on_the_way_out_of_an_interrupt_is_only_recorded() -> None:
    """Both at once, in `threading.Condition.wait`, left a lock that could not be released."""
    code, said = run(
        """
        signals.enable()
        try:
            try:
                raise KeyboardInterrupt
            finally:
                send(signal.SIGUSR1)
                print("closed", signals.pending() == signal.SIGUSR1)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert (code, said.split()) == (0, ["closed", "True", "interrupted"])
