"""A training that was killed and typed again ends where an uninterrupted one ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.stages.commands import copy_stages, subprocess_slams
from tests.stages.conftest import Study


def steps_done(run: Path) -> int:
    """Return the last step in metrics.csv; a line may be half written."""
    try:
        lines = (run / "metrics.csv").read_text().splitlines()
    except FileNotFoundError:
        return 0
    numbers = [line.partition(",")[0] for line in lines[1:-1]]
    return int(numbers[-1]) if numbers else 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "needed", "steps", "kills"),
    [("vae", (), 800, (200,)), ("score", ("vae",), 1600, (200, 800))],
)
def test_a_killed_training_ends_like_an_uninterrupted_one(
    finished: Study,
    tmp_path: Path,
    stage: str,
    needed: tuple[str, ...],
    steps: int,
    kills: tuple[int, ...],
) -> None:
    verb = f"train {stage}"
    words = (f"{stage}.optimizer.steps={steps}", "trainer.validate_every_epochs=5")
    whole = copy_stages(finished.config, tmp_path / "whole", *needed)
    process = subprocess_slams(finished.recipe, verb, f"runs={whole}", *words)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output

    cut = copy_stages(finished.config, tmp_path / "cut", *needed)
    run = cut / "tiny" / stage
    # The score twice: after the first checkpoint, and after the resumed run's own.
    for attempt, after in enumerate(kills, start=1):
        process = subprocess_slams(finished.recipe, verb, f"runs={cut}", *words)
        deadline = time.monotonic() + 120
        while steps_done(run) < after and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None, process.communicate()[0]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        at = steps_done(run)
        assert after <= at < steps
        record = json.loads((run / "run.json").read_text())
        assert (record["status"], record["attempts"]) == ("running", attempt)
        assert torch.load(run / "checkpoints" / "last.ckpt")["global_step"] <= at

    process = subprocess_slams(finished.recipe, verb, f"runs={cut}", *words)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "continuing from" in output
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["attempts"]) == ("finished", len(kills) + 1)

    expected = whole / "tiny" / stage
    curves = pd.read_csv(expected / "metrics.csv")
    assert curves["step"].iloc[-1] == steps
    assert (run / "metrics.csv").read_text() == (expected / "metrics.csv").read_text()
    for name in ("last.ckpt", "best.ckpt"):
        one, other = (torch.load(r / "checkpoints" / name) for r in (run, expected))
        assert one["global_step"] == other["global_step"]
        for part in ("state_dict", "training_state_dict"):
            assert set(one[part]) == set(other[part])
            assert all(torch.equal(one[part][k], other[part][k]) for k in one[part])
