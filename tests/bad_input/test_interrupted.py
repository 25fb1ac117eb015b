"""Interrupted, terminated, or started twice: what is left, and what the program says."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_input.conftest import Refused, listing
from tests.stages.commands import subprocess_slams

NEW = ("experiment=new", "pretrained_experiment=tiny")
LONG = ("data.test_cases=0", "assimilation.members=60", "assimilation.sampler.steps=60")


def interrupt(process: subprocess.Popen[str], sent: signal.Signals, ready: Callable) -> str:
    """Send a signal once something is there; return what the program said last."""
    deadline = time.monotonic() + 120
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + sent, output
    assert "Traceback" not in output
    return output.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_says_how_it_goes_on(root: Path, sent: signal.Signals) -> None:
    run = root / "runs/new/vae"
    words = ("experiment=new", "vae.optimizer.steps=100000")
    process = subprocess_slams(root / "recipe.yaml", "train vae", *words, f"runs={root / 'runs'}")
    said = interrupt(process, sent, (run / "checkpoints/last.ckpt").exists)
    assert "continues from the last checkpoint" in said
    assert json.loads((run / "run.json").read_text())["status"] == "killed"
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.slow
def test_an_interrupted_replacement_leaves_what_it_was_to_replace(root: Path) -> None:
    before = listing(root)
    words = ("resume=overwrite", *LONG)
    process = subprocess_slams(root / "recipe.yaml", "assimilate", *words)
    aside = root / "runs/tiny/.assimilation.old"
    said = interrupt(process, signal.SIGINT, aside.exists)
    assert "unfinished work is discarded" in said
    assert listing(root) == before


@pytest.mark.slow
def test_of_two_that_start_at_once_one_works(root: Path) -> None:
    words = ("experiment=new", "vae.optimizer.steps=400")
    both = [subprocess_slams(root / "recipe.yaml", "train vae", *words) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    codes = [process.returncode for process in both]
    # The later one is refused, or finds the run finished and keeps it.
    assert codes.count(0) >= 1, outputs
    for code, output in zip(codes, outputs, strict=True):
        assert code in (0, 2)
        # By which process is known as soon as it has written its record.
        assert code == 0 or "runs/new/vae is in use by" in output
    assert json.loads((root / "runs/new/vae/run.json").read_text())["status"] == "finished"


def test_a_run_directory_in_use_is_left_alone(refused: Refused, root: Path) -> None:
    import filelock

    with filelock.FileLock(root / "runs/tiny/.vae.lock"):
        sentence = refused("train vae", "resume=overwrite")
    assert "runs/tiny/vae is in use by process" in sentence
