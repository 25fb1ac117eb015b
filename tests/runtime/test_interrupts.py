"""Ctrl-C at the start of the program: one line, exit code 130, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import slams

# Sends itself SIGINT at the N-th import after signals are listened to, as if by a user.
AT_AN_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
left = int(sys.argv.pop(1))
begun = False
def watch(event, args):
    global left, begun
    if event == "import":
        begun = begun or args[0] == "slams.runtime.signals"
        left -= begun
        if left == 0:
            left = -1
            os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(watch)
from slams.__main__ import run
sys.exit(run())
"""
# What is imported once interrupts are handled.
ROOMS = ("slams/cli", "slams/config", "slams/runs", "runtime/signals", "omegaconf")
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("RANK", "LOCAL_RANK", "SLURM_PROCID")
}


def start(*words: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(slams.__file__).parents[1]), *sys.path])
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | {"PYTHONPATH": path},
        # A shell has what it starts in the background ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("number", [1, 2, 5, 10, 20, 40, 80, 120, 160, 200, 250, 300])
def test_an_interrupt_at_an_import(number: int) -> None:
    process = start("-c", AT_AN_IMPORT, str(number), "config", "validate", "nowhere.yaml")
    output, complaint = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert complaint.startswith("slams: interrupted")
    assert complaint.count("\n") == 1


def test_an_interrupt_while_a_stage_is_imported(tmp_path: Path) -> None:
    # `importing` is what the command line wraps the imports of torch and Lightning in.
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from slams.runtime import interrupts, signals\n"
        "signal.signal(signal.SIGINT, interrupts.leave_at_once)\n"
        "signals.install_handlers(); signals.enable()\n"
        "try:\n"
        "    with signals.importing():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('held', signals.pending() == signal.SIGTERM, flush=True)\n"
        "except SystemExit as stopped:\n"
        "    print(stopped.reason, flush=True)\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('raised', flush=True)\n"
        "with signals.importing():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        print('what a library might make something else of', flush=True)\n"
    )
    process = start("-c", code)
    output, complaint = process.communicate(timeout=60)
    assert output.split() == ["held", "True", "SIGTERM", "raised"]
    assert (process.returncode, complaint) == (130, "slams: interrupted\n")


def test_an_interrupt_while_a_recipe_is_read_is_no_error_of_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("seed: 1\n")
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from omegaconf import OmegaConf\n"
        "create = OmegaConf.create\n"
        "def interrupted(text):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        raise ValueError('what a library makes of it')\n"
        "    return create(text)\n"
        "OmegaConf.create = interrupted\n"
        "from slams.__main__ import run\n"
        "sys.exit(run())\n"
    )
    process = start("-c", code, "config", "print", str(recipe))
    output, complaint = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert complaint.startswith("slams: interrupted")


def test_a_second_interrupt_changes_nothing() -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from slams.cli import exits, main\n"
        "def interrupt(*arguments):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "print_error = exits.print_error\n"
        "main.admit_plugins = interrupt\n"
        "exits.print_error = lambda *words: (interrupt(), print_error(*words))\n"
        "sys.exit(main.main())\n"
    )
    process = start("-c", code, "config", "validate", "nowhere.yaml")
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint.startswith("slams: interrupted")
    assert complaint.count("\n") == 1


def test_an_interrupt_that_is_ignored_stays_so() -> None:
    code = AT_AN_IMPORT.replace("signal.default_int_handler", "signal.SIG_IGN")
    process = start("-c", code, "30", "config", "validate", "nowhere.yaml")
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "nowhere.yaml does not exist" in complaint


def test_interrupts_in_the_first_half_second() -> None:
    for delay in range(0, 501, 50):
        process = start("-m", "slams", "config", "validate", "nowhere.yaml")
        time.sleep(delay / 1000)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
        # Until the first line of the program has run, it is Python that is interrupted.
        early = "Traceback" in complaint and not any(room in complaint for room in ROOMS)
        assert early or "Traceback" not in complaint, complaint
        assert early or process.returncode in (130, -signal.SIGINT, 2), (delay, complaint)
        if process.returncode == 2:  # the program was faster
            assert "nowhere.yaml does not exist" in complaint
