"""What a task does with its SLURM job, with a `scontrol` of our own on the PATH."""

from __future__ import annotations

import stat
import time
from datetime import datetime
from pathlib import Path

import pytest

from slams.runtime import slurm_job
from slams.runtime.signals import Stopped


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that says what `scontrol` answers, and the file of what it was asked."""
    asked = tmp_path / "asked"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "12")

    def answer(
        state: str = "RUNNING",
        reason: str = "None",
        batch: int = 1,
        left: float = 86400,
        code: int = 0,
        restarts: int = 0,
    ) -> Path:
        end = datetime.fromtimestamp(time.time() + left).isoformat(timespec="seconds")
        show = (
            f"JobId=12 JobName=x JobState={state} Reason={reason} BatchFlag={batch} "
            f"Restarts={restarts} EndTime={end}"
        )
        script = tmp_path / "scontrol"
        script.write_text(
            f'#!/bin/sh\necho "$@" >> {asked}\n'
            f'if [ "$1" = show ]; then echo "{show}"; exit 0; fi\n'
            f'if [ {code} -ne 0 ]; then echo "Access denied" >&2; fi\nexit {code}\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return asked

    return answer


def test_a_running_batch_job_is_requeued(scontrol) -> None:
    asked = scontrol()
    assert slurm_job.requeue(saved=True) == "job 12 is requeued and continues automatically"
    assert asked.read_text().splitlines() == ["show job --oneliner 12", "requeue 12"]


@pytest.mark.parametrize(
    ("answer", "saved", "sentence"),
    [
        # A requeue would bring it back to life; SLURM says `CANCELLED` only when it is over.
        ({"state": "COMPLETING"}, True, "was cancelled or ended by SLURM"),
        ({"state": "CANCELLED"}, True, "was cancelled or ended by SLURM"),
        ({"batch": 0}, True, "an interactive job is not requeued"),
        (
            {"state": "COMPLETING", "reason": "TimeLimit", "left": 0.0},
            False,
            "used up its time with nothing to continue from",
        ),
        ({"restarts": 5}, False, "run again 5 times and has nothing to continue from"),
    ],
)
def test_jobs_that_are_not_requeued(scontrol, answer, saved, sentence) -> None:
    asked = scontrol(**answer)
    assert sentence in slurm_job.requeue(saved)
    assert "requeue" not in asked.read_text()


@pytest.mark.parametrize(("saved", "left", "restarts"), [(True, 0.0, 40), (False, 80000.0, 4)])
def test_time_that_is_up_with_a_checkpoint_and_pre_emption_without(
    scontrol, saved, left, restarts
) -> None:
    # With time left, SLURM gives a job that it takes away its grace while it runs.
    over = {} if left else {"state": "COMPLETING", "reason": "TimeLimit"}
    scontrol(left=left, restarts=restarts, **over)
    assert "is requeued" in slurm_job.requeue(saved)


def test_a_refusal_is_told(scontrol) -> None:
    scontrol(code=1)
    said = slurm_job.requeue(saved=True)
    assert "could not be requeued (Access denied), submit it again" in said


def test_without_scontrol(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert "does not answer" in slurm_job.requeue(saved=True)


def test_who_is_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    assert not slurm_job.is_task()
    assert not slurm_job.restarted()
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    assert slurm_job.is_task()
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    assert not slurm_job.is_task()
    assert not slurm_job.restarted()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert slurm_job.restarted()


@pytest.mark.parametrize(
    ("rank", "stopped", "code", "requeued"),
    [
        ("0", Stopped("SIGUSR1 after step 5", 10, saved=True), 75, True),
        ("0", Stopped("SIGTERM after step 5", 15, saved=True), 143, True),
        # The recipe's own limit: whoever set it did not ask for another round.
        ("0", Stopped("trainer.max_time after step 5", 0, saved=True), 75, False),
        # Rank zero asks, once; a rank that left with an error would take it down before that.
        ("1", Stopped("SIGUSR1 after step 5", 10, saved=True), 0, False),
        # A signal that came to this rank alone.
        ("1", Stopped("SIGTERM", 15), 143, True),
    ],
)
def test_the_command_line_requeues_on_rank_zero(
    scontrol, monkeypatch, capsys, tmp_path, rank, stopped, code, requeued
) -> None:
    import sys
    import types

    from slams.cli import exits, kinds, main
    from tests.cli.test_main import RECIPE

    def train(config: object, dry_run: bool) -> None:
        raise stopped

    asked = scontrol()
    monkeypatch.setattr(exits, "_OTHERS_SECONDS", 0.0)
    monkeypatch.setenv("SLURM_PROCID", rank)
    training = types.SimpleNamespace(train_vae=train)
    monkeypatch.setitem(sys.modules, "slams.stages.training", training)
    monkeypatch.setattr(kinds, "check_prerequisites", lambda *arguments: None)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(RECIPE)
    assert main.main(["train", "vae", str(recipe)]) == code
    assert (asked.exists() and "requeue 12" in asked.read_text()) == requeued
    said = capsys.readouterr().err
    if rank == "0":
        assert "continues from the last checkpoint" in said
        assert ("job 12 is requeued" in said) == requeued
    else:
        assert said.startswith("slams: another rank on ") == requeued
