"""No space left on the device: a real one where this machine lets us mount it, or made up."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from lightning.pytorch import Trainer

import slams
from slams.cli.main import main
from slams.modules.callbacks import checkpoints
from slams.runs.record import RunRecord
from tests.bad_input.conftest import Refused

# Mounts a small disk that only this process sees, runs slams, and lists what it left. Denoising
# errors that were measured before the disk was full are complete files, kept for the next attempt.
_SMALL_DISK = """
mount -t tmpfs -o size=$1 tmpfs disk || exit 77
mkdir -p disk/runs/tiny
for stage in vae score; do ln -s $PWD/runs/tiny/$stage disk/runs/tiny/$stage; done
shift
"$@"
code=$?
echo left: $(find disk -mindepth 1 ! -path disk/runs ! -path disk/runs/tiny \
    ! -path 'disk/runs/tiny/denoising_errors*' ! -type l)
exit $code
"""


@pytest.mark.parametrize(
    ("command", "size", "words"),
    [
        # Room for the first files, not for the fields; the first checkpoint; the analyses.
        ("prepare", "200k", ["data.store=disk/new.zarr"]),
        ("train vae", "100k", ["runs=disk/others"]),
        ("assimilate", "200k", ["runs=disk/runs"]),
        # A new tracking store, in the middle of its migrations.
        ("train vae", "300k", ["runs=disk/others", "tracking.enabled=true"]),
    ],
)
def test_a_disk_that_fills_up(root: Path, command: str, size: str, words: list[str]) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("there is no `unshare` to mount a small disk with")
    (root / "disk").mkdir()
    path = os.pathsep.join([str(Path(slams.__file__).parents[1]), *sys.path])
    program = [sys.executable, "-m", "slams", *command.split(), "recipe.yaml", *words]
    mounting = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _SMALL_DISK, "sh"]
    done = subprocess.run(
        [*mounting, size, *program],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"this machine lets nobody mount a small disk: {done.stderr.strip()}")
    sentence = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert "no space left on the device" in sentence
    assert "disk/" in sentence
    assert "Traceback" not in done.stderr
    assert done.stdout.strip().splitlines()[-1] == "left:"


def full(*arguments: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_checkpoint_that_does_not_fit(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints.shutil, "copyfile", full)
    # Neither a new run nor one in the place of a finished one leaves anything.
    for words in (["experiment=new"], ["resume=overwrite"]):
        assert "no space left on the device" in refused("train vae", *words)


def test_results_that_do_not_fit(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    sentence = refused("assimilate", "experiment=new", "pretrained_experiment=tiny")
    assert "no space left on the device" in sentence
    assert "'runs'" in sentence


def test_a_later_checkpoint_that_does_not_fit_leaves_the_one_before(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = root / "runs/new/vae"
    save = Trainer.save_checkpoint

    def fills_up(trainer: Trainer, path: Path) -> None:
        if (run / "checkpoints/last.ckpt").exists():
            Path(path).write_bytes(b"half of it")
            full()
        save(trainer, path)

    monkeypatch.setattr(Trainer, "save_checkpoint", fills_up)
    words = ["experiment=new", "vae.optimizer.steps=40"]
    assert main(["train", "vae", "recipe.yaml", *words]) == 2
    assert "no space left on the device" in capsys.readouterr().err
    assert RunRecord.read(run).status == "failed"
    found = sorted(p.name for p in (run / "checkpoints").iterdir())
    assert found == ["best.ckpt", "last.ckpt"]  # and no part of a third
    monkeypatch.undo()
    monkeypatch.chdir(root)
    assert main(["train", "vae", "recipe.yaml", *words]) == 0
    assert "continuing from runs/new/vae/checkpoints/last.ckpt" in capsys.readouterr().out


def test_a_report_that_does_not_fit(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_bytes", full)
    assert "no space left on the device" in refused("report")
