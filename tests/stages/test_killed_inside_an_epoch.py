"""A training killed inside an epoch and typed again sees each window of it exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.store.training_store import TrainingStore
from data_modules.stream.samplers import BlockShuffleSampler
from slams.config.loading import load
from slams.stages.data import reanalysis
from tests.stages import logged_command
from tests.stages.conftest import Study

# Seventy windows, so that no batch of an epoch is short.
BATCH, BATCHES, EPOCHS = 7, 10, 6


def command(log: Path, finished: Study, runs: Path, *words: str) -> subprocess.Popen[str]:
    """Start the training of the VAE, every step of which is noted."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root / "src"), str(root), os.environ.get("PYTHONPATH", "")])
    keys = [
        f"runs={runs}",
        f"vae.batch_size={BATCH}",
        f"vae.optimizer.steps={BATCHES * EPOCHS}",
        "trainer.checkpoint_every_steps=3",
        "trainer.validate_every_epochs=3",
        *words,
    ]
    script = Path(logged_command.__file__)
    return subprocess.Popen(
        [sys.executable, str(script), str(log), "train", "vae", str(finished.recipe), *keys],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def steps_in(log: Path) -> dict[int, list[int]]:
    """Read the windows of each step; a kill may cut the last line."""
    lines = log.read_text().splitlines() if log.exists() else []
    rows = [[int(word) for word in line.split()] for line in lines]
    return {row[0]: row[1:] for row in rows if len(row) == 1 + BATCH}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("data.cache=memory",),
        ("data.cache=mmap", "data.ahead=4"),
        ("data.cache=none", "data.num_workers=2"),
    ],
)
def test_each_window_of_the_epoch_exactly_once(
    finished: Study, tmp_path: Path, words: tuple[str, ...]
) -> None:
    words = (*words, f"data.cache_directory={tmp_path / 'cache'}")
    first = command(tmp_path / "first", finished, tmp_path / "runs", *words)
    deadline = time.monotonic() + 180
    # In the middle of the third epoch, which is not validated before its end.
    while len(steps_in(tmp_path / "first")) < 26 and time.monotonic() < deadline:
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    # Workers that stayed behind would keep its output open.
    first.communicate(timeout=60)
    last = tmp_path / "runs" / "tiny" / "vae" / "checkpoints" / "last.ckpt"
    saved = torch.load(last, weights_only=False)["global_step"]
    assert saved % BATCHES != 0, "it was killed too late: the checkpoint ends an epoch"

    second = command(tmp_path / "second", finished, tmp_path / "runs", *words)
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0, output
    assert "continuing from" in output

    # What came after the checkpoint died with the first process, and is done again.
    begun = {s: w for s, w in steps_in(tmp_path / "first").items() if s < saved}
    resumed = steps_in(tmp_path / "second")
    assert sorted(begun) + sorted(resumed) == list(range(BATCHES * EPOCHS))
    seen = [window for _, windows in sorted({**begun, **resumed}.items()) for window in windows]
    config = load(finished.recipe)
    module = reanalysis(config)
    cases = module.splits["train"]
    assert len(cases) == BATCH * BATCHES
    for epoch in range(EPOCHS):
        found = seen[epoch * len(cases) : (epoch + 1) * len(cases)]
        assert sorted(found) == sorted(cases.tolist())
        # And in the order of a training that nothing interrupts.
        files = cases // TrainingStore.open(config.data.store).file_steps
        order = BlockShuffleSampler(files, config.seed).order(epoch)
        np.testing.assert_array_equal(found, cases[order])
