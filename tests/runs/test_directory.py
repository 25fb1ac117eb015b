"""Run directories: who owns them, what continues, what is refused, what a kill leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slams.config.loading import to_plain
from slams.config.schema import Config, SplitsConfig
from slams.diffusion.settings import ResidualSettings
from slams.errors import UserError
from slams.runs import provenance
from slams.runs.directory import RunDirectory
from slams.runs.record import LAYOUT, RunRecord
from slams.runtime import atomic
from slams.stages.places import finished_run, run_request, stage_directory, trained_directory


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(experiment="tiny", runs=str(tmp_path / "runs"))


def finish(config: Config, stage: str = "vae", **inputs: str) -> RunRecord:
    with RunDirectory.open(run_request(config, stage, inputs, fingerprint="f" * 64)) as run:
        (run.path / "result.txt").write_text("kept")
    return run.record


def fail(config: Config, error: BaseException) -> RunDirectory:
    run = RunDirectory.open(run_request(config, "vae"))
    with pytest.raises(type(error)), run:
        raise error
    return run


def test_a_run_leaves_its_recipe_and_its_record(config: Config) -> None:
    with RunDirectory.open(run_request(config, "score", {"vae": "abc"}, fingerprint="f00")) as run:
        during = json.loads((run.path / "run.json").read_text())
        run.update(summary={"parameters": 3})
        run.update(summary={"peak_memory_mb": 1.5})
    assert run.path == Path(config.runs) / "tiny" / "score"
    assert during["status"] == "running"
    assert during["process"]["pid"] == os.getpid()
    after = RunRecord.read(run.path)
    assert (after.status, after.inputs, after.fingerprint) == ("finished", {"vae": "abc"}, "f00")
    assert after.summary == {"parameters": 3, "peak_memory_mb": 1.5}
    assert set(after.versions) >= {"slams", "python", "torch", "zarr", "azula", "lightning"}
    assert (run.path / "config.yaml").read_text().startswith("experiment: tiny")


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("x"), "failed"), (KeyboardInterrupt(), "killed"), (SystemExit(1), "killed")],
)
def test_how_a_run_ends(config: Config, error: BaseException, status: str) -> None:
    assert RunRecord.read(fail(config, error).path).status == status


def test_a_killed_run_continues_as_the_same_run(config: Config) -> None:
    first = fail(config, KeyboardInterrupt())
    first.checkpoints.mkdir()
    (first.checkpoints / "last.ckpt").write_text("weights")
    with RunDirectory.open(run_request(config, "vae")) as again:
        assert (again.record.attempts, again.finished) == (2, False)
        assert again.record.run_id == first.record.run_id
        assert again.record.attempts == 2
        assert again.last_checkpoint == first.checkpoints / "last.ckpt"


def test_a_finished_run_is_kept_untouched(config: Config) -> None:
    record = finish(config)
    path = stage_directory(config, "vae")
    before = {p: p.stat().st_mtime_ns for p in path.rglob("*")}
    with RunDirectory.open(run_request(config, "vae", fingerprint="f" * 64)) as run:
        assert run.finished
        assert "finished already" in run.summary()
        run.update(summary={"late": 1})
    assert {p: p.stat().st_mtime_ns for p in path.rglob("*")} == before
    assert RunRecord.read(path) == record


def test_overwrite_starts_over_and_never_refuses(config: Config) -> None:
    record = finish(config)
    other = replace(config, seed=5, resume="overwrite")
    with RunDirectory.open(run_request(other, "vae")) as run:
        assert run.record.run_id != record.run_id
        assert not (run.path / "result.txt").exists()
        assert "seed: 5" in (run.path / "config.yaml").read_text()
    assert [p.name for p in run.path.parent.iterdir() if p.suffix == ".old"] == []


def test_never_refuses_what_exists(config: Config) -> None:
    finish(config)
    with pytest.raises(UserError, match="resume=never"):
        RunDirectory.open(run_request(replace(config, resume="never"), "vae"))


@pytest.mark.parametrize("finished", [True, False])
def test_another_recipe_is_refused_with_its_first_key(config: Config, finished: bool) -> None:
    if finished:
        finish(config)
    else:
        fail(config, KeyboardInterrupt())
    other = replace(config, vae=replace(config.vae, latent_channels=8))
    with pytest.raises(UserError) as caught:
        RunDirectory.open(run_request(other, "vae"))
    sentence = str(caught.value)
    assert "'vae.latent_channels', found 32, expected 8" in sentence
    assert "resume=overwrite" in sentence
    # The refusal leaves the lock free and the directory usable by its owner.
    RunDirectory.open(run_request(config, "vae")).close("finished")


@pytest.mark.parametrize(
    ("stage", "key", "value", "matters"),
    [
        ("vae", "seed", 1, True),
        ("vae", "score.blocks", 7, False),
        ("score", "score.blocks", 7, True),
        ("score", "vae.hidden", 7, True),
        ("score", "background.lag", 3, True),
        ("vae", "data.harmonics", 1, True),
        ("vae", "data.num_workers", 7, False),
        ("vae", "data.cache", "mmap", False),
        ("vae", "data.splits.test", ["1990-01-01", "1991-01-01"], False),
        ("assimilation", "data.splits.test", ["1990-01-01", "1991-01-01"], True),
        ("assimilation", "observations.stations.count", 7, True),
        ("assimilation", "assimilation.members", 7, True),
        ("assimilation", "trainer.devices", 2, False),
        ("assimilation", "report.dpi", 50, False),
        ("vae", "trainer.precision", "32-true", False),
        ("filter", "filter.hidden", 8, True),
        ("filter", "filter.start", "truth", False),
        ("filter", "filter.compared_with", "stores/other.zarr", False),
        ("assimilation", "filter.compared_with", "stores/other.zarr", False),
    ],
)
def test_which_keys_a_stage_depends_on(
    config: Config, stage: str, key: str, value: object, matters: bool
) -> None:
    found = to_plain(config)
    section = found
    *parents, last = key.split(".")
    for part in parents:
        section = section[part]
    assert section[last] != value
    section[last] = value
    difference = provenance.run_difference(stage, found, to_plain(config))
    assert (difference is not None) == matters
    assert not matters or difference.key == key


def test_a_key_younger_than_the_run_counts_as_its_default(config: Config) -> None:
    found = to_plain(config)
    del found["vae"]["kl_weight"]
    assert provenance.run_difference("vae", found, to_plain(config)) is None
    other = replace(config, vae=replace(config.vae, kl_weight=0.5))
    assert provenance.run_difference("vae", found, to_plain(other)).key == "vae.kl_weight"


def test_a_run_of_latent_methods_from_before_residuals_has_none(config: Config) -> None:
    """It is not continued with other numbers; runs of other methods are, and so are networks."""
    found = to_plain(config)
    del found["assimilation"]["residual"]
    difference = provenance.run_difference("assimilation", found, to_plain(config))
    assert (difference.key, difference.found) == ("assimilation.residual.sample", False)
    section = replace(config.assimilation, residual=ResidualSettings(sample=False))
    without = replace(config, assimilation=section)
    assert provenance.run_difference("assimilation", found, to_plain(without)) is None
    for stage in ("vae", "score"):
        assert provenance.run_difference(stage, found, to_plain(config)) is None
    section = replace(config.assimilation, methods=["optimal_interpolation@score_mean"])
    classical = to_plain(replace(config, assimilation=section))
    found["assimilation"]["methods"] = section.methods
    assert provenance.run_difference("assimilation", found, classical) is None


def test_a_run_records_what_its_test_days_are(config: Config) -> None:
    days, reserved = ["1984-01-01", "1984-12-31"], ["1984-12-01", "1984-12-31"]
    splits = SplitsConfig(test=days, final=True)
    config = replace(config, data=replace(config.data, splits=splits))
    with RunDirectory.open(run_request(config, "assimilation", {}, "f00", reserved)) as run:
        pass
    record = RunRecord.read(run.path)
    assert (record.reserved_days, record.test_days) == (reserved, "reserved, final")
    assert "  final: true" in (run.path / "config.yaml").read_text()
    trained = run_request(config, "vae", {}, "f00", reserved).new_record()
    assert trained.test_days == "reserved, not read"
    # Where no store has been opened, the recipe's own days are those that are reserved.
    assert run_request(config, "assimilation").new_record().test_days == "not reserved"
    # A record from before these fields is read as one that says nothing.
    path = run.path / "run.json"
    older = json.loads(path.read_text())
    del older["reserved_days"], older["test_days"]
    path.write_text(json.dumps(older))
    assert (RunRecord.read(run.path).reserved_days, RunRecord.read(run.path).test_days) == ([], "")


def test_other_inputs_and_other_data_are_refused(config: Config) -> None:
    finish(config, "score", vae="one")
    with pytest.raises(UserError, match="another vae run: found one, expected two"):
        RunDirectory.open(run_request(config, "score", {"vae": "two"}, fingerprint="f" * 64))
    named = f"other data: found fingerprint f{{12}}, expected 0{{12}} of {config.data.store};"
    with pytest.raises(UserError, match=named):
        RunDirectory.open(run_request(config, "score", {"vae": "one"}, fingerprint="0" * 64))


def test_strangers_are_neither_overwritten_nor_removed(config: Config) -> None:
    path = stage_directory(config, "vae")
    path.mkdir(parents=True)
    (path / "thesis.tex").write_text("precious")
    for resume in ("auto", "overwrite"):
        with pytest.raises(UserError, match=r"thesis\.tex"):
            RunDirectory.open(run_request(replace(config, resume=resume), "vae"))
    assert (path / "thesis.tex").exists()


def test_records_of_another_layout_and_damaged_ones(config: Config) -> None:
    finish(config)
    path = stage_directory(config, "vae") / "run.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"layout": LAYOUT + 1}))
    with pytest.raises(UserError, match=f"found layout {LAYOUT + 1}, expected {LAYOUT}"):
        RunDirectory.open(run_request(config, "vae"))
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match="damaged"):
        RunDirectory.open(run_request(config, "vae"))
    RunDirectory.open(run_request(replace(config, resume="overwrite"), "vae")).close("finished")


def test_one_process_at_a_time_and_no_stale_lock(config: Config) -> None:
    code = (
        "import sys, time\n"
        "from slams.runs.directory import RunDirectory\n"
        "from slams.config.schema import Config\n"
        "from slams.stages.places import run_request\n"
        "config = Config(experiment='tiny', runs=sys.argv[1])\n"
        "run = RunDirectory.open(run_request(config, 'vae'))\n"
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, config.runs], stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout.readline().strip() == "locked"
        with pytest.raises(UserError, match=f"in use by process {owner.pid}"):
            RunDirectory.open(run_request(config, "vae"))
        with pytest.raises(UserError, match="in use"):
            RunDirectory.open(run_request(replace(config, resume="overwrite"), "vae"))
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    # It still says running, but nobody holds it: it was killed, and continues.
    assert RunRecord.read(stage_directory(config, "vae")).status == "running"
    with RunDirectory.open(run_request(config, "vae")) as run:
        assert run.record.attempts > 1


def test_other_ranks_see_the_run_and_write_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    zero = RunDirectory.open(run_request(config, "vae"))
    zero.checkpoints.mkdir()
    (zero.checkpoints / "last.ckpt").write_text("weights")
    before = (zero.path / "run.json").read_bytes()
    monkeypatch.setenv("LOCAL_RANK", "1")
    with RunDirectory.open(run_request(config, "vae")) as one:
        assert one.record.run_id == zero.record.run_id
        assert one.last_checkpoint == zero.last_checkpoint
        one.update(summary={"rank": 1})
    with RunDirectory.open(run_request(replace(config, resume="overwrite"), "vae")) as fresh:
        # Rank zero clears the directory, perhaps after this rank has looked.
        assert not fresh.finished
        assert fresh.last_checkpoint is None
    assert (zero.path / "run.json").read_bytes() == before
    zero.close("finished")


def test_settings_have_directories_of_their_own(config: Config) -> None:
    other = replace(config, assimilation=replace(config.assimilation, setting="few"))
    assert stage_directory(config, "assimilation").name == "assimilation"
    assert stage_directory(other, "assimilation").name == "assimilation-few"
    assert stage_directory(other, "vae") == stage_directory(config, "vae")


def test_finding_the_run_a_stage_builds_on(config: Config) -> None:
    with pytest.raises(
        UserError, match="run `slams train vae` with the recipe of experiment 'tiny' first"
    ):
        finished_run(config, "vae")
    fail(config, KeyboardInterrupt())
    with pytest.raises(UserError, match="is killed, expected a finished run"):
        finished_run(config, "vae")
    with RunDirectory.open(run_request(config, "vae")):
        pass
    assert finished_run(config, "vae").status == "finished"
    # Another data set may borrow the network, but the same experiment must describe it rightly.
    other = replace(config, vae=replace(config.vae, hidden=9))
    with pytest.raises(UserError, match=r"'vae\.hidden', found 128, expected 9"):
        finished_run(other, "vae")
    borrowing = replace(other, experiment="window", pretrained_experiment="tiny")
    assert finished_run(borrowing, "vae").experiment == "tiny"
    assert trained_directory(borrowing, "vae") == stage_directory(config, "vae")


def test_files_are_there_in_full_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    path.write_text("old")

    def write_half() -> None:
        with atomic.replacing(path) as temporary:
            assert temporary.suffix == ".parquet"
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def as_job(monkeypatch: pytest.MonkeyPatch, number: str, restarts: int, rank: int = 0) -> None:
    """Make this process rank `rank` of a SLURM job that was run again so many times."""
    monkeypatch.setenv("SLURM_JOB_ID", number)
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    monkeypatch.setenv("SLURM_PROCID", str(rank))


@pytest.mark.parametrize("resume", ["overwrite", "never"])
def test_a_job_that_runs_again_continues_what_it_began(
    config: Config, monkeypatch: pytest.MonkeyPatch, resume: str
) -> None:
    if resume == "overwrite":
        finish(config)
    config = replace(config, resume=resume)
    as_job(monkeypatch, "7", 0)
    run = RunDirectory.open(run_request(config, "vae"))
    run.checkpoints.mkdir()
    (run.checkpoints / "last.ckpt").touch()
    run.close("killed")
    as_job(monkeypatch, "7", 1, rank=1)
    beside = RunDirectory.open(run_request(config, "vae"))
    assert beside.last_checkpoint == run.checkpoints / "last.ckpt"
    as_job(monkeypatch, "7", 1)
    with RunDirectory.open(run_request(config, "vae")) as again:
        assert (again.record.run_id, again.record.attempts) == (run.record.run_id, 2)
        assert again.last_checkpoint == run.checkpoints / "last.ckpt"


def test_what_another_job_began_is_not_what_this_one_began(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job was requeued before it had begun the run that it was to replace."""
    as_job(monkeypatch, "6", 0)
    old = finish(config)
    as_job(monkeypatch, "7", 1)
    with RunDirectory.open(run_request(replace(config, resume="overwrite"), "vae")) as run:
        assert run.record.run_id != old.run_id
    as_job(monkeypatch, "8", 1)
    with pytest.raises(UserError, match="exists and resume=never"):
        RunDirectory.open(run_request(replace(config, resume="never"), "vae"))


def kill(config: Config, checkpoint: bool = False) -> RunDirectory:
    """Begin a run as a process does that is then killed without a word."""
    run = RunDirectory.open(run_request(config, "vae"))
    if checkpoint:
        run.checkpoints.mkdir()
        (run.checkpoints / "last.ckpt").touch()
    run._lock.release()
    return run


def test_however_often_a_replacement_is_killed_the_finished_run_stays(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    old = finish(config)
    over = replace(config, resume="overwrite")
    path = stage_directory(config, "vae")
    aside = path.with_name(".vae.old")
    for _ in range(3):
        kill(over)
        assert RunRecord.read(aside).run_id == old.run_id
    # Also where an attempt got as far as a checkpoint, which the next one throws away.
    kill(over, checkpoint=True)
    kill(over)
    assert RunRecord.read(aside).run_id == old.run_id
    capsys.readouterr()
    # The original command says where it is, and what it says to do brings it back.
    back = f"rm -r {path} && mv {aside} {path}"
    kill(config)
    assert back in capsys.readouterr().out
    other = replace(config, vae=replace(config.vae, hidden=9))
    with pytest.raises(UserError, match=re.escape(back)):
        RunDirectory.open(run_request(other, "vae"))
    with pytest.raises(UserError, match=re.escape(back)):
        finished_run(config, "vae")
    subprocess.run(["sh", "-c", back], check=True)
    with RunDirectory.open(run_request(config, "vae")) as run:
        assert (run.finished, run.record.run_id) == (True, old.run_id)


def test_killed_before_the_replacement_was_begun_nothing_is_replaced(config: Config) -> None:
    old, path = finish(config), stage_directory(config, "vae")
    aside = path.with_name(".vae.old")
    path.rename(aside)
    with RunDirectory.open(run_request(config, "vae")) as run:
        assert (run.finished, run.record.run_id) == (True, old.run_id)
    path.rename(aside)
    path.mkdir()
    (path / "config.yaml").write_text("half")
    with RunDirectory.open(run_request(config, "vae")) as run:
        assert (run.finished, run.record.run_id) == (True, old.run_id)
    assert not aside.exists()


def test_what_was_replaced_goes_when_the_new_run_has_finished(config: Config) -> None:
    finish(config)
    path = stage_directory(config, "vae")
    aside = path.with_name(".vae.old")
    kill(replace(config, resume="overwrite"))
    with RunDirectory.open(run_request(config, "vae")) as run:
        assert run.record.attempts > 1
    assert not aside.exists()
    # Killed between the two: the new run says that it has finished.
    aside.mkdir()
    with RunDirectory.open(run_request(config, "vae")) as again:
        assert again.record.run_id == run.record.run_id
    assert not aside.exists()


def test_no_lock_stays_behind(config: Config) -> None:
    finish(config)
    with RunDirectory.open(run_request(config, "vae")) as again:
        assert again.finished
    fail(replace(config, experiment="tiny/other"), KeyboardInterrupt())
    for path in (stage_directory(config, "vae"), Path(config.runs) / "tiny/other/vae"):
        assert not path.with_name(".vae.lock").exists()


def test_a_lost_rank_before_the_first_checkpoint_leaves_the_run(config: Config) -> None:
    """The job that comes back is the same run, and the same one of the tracking server."""
    run = fail(config, RuntimeError("[pair.cc:545] Read error: Connection closed by peer"))
    assert RunRecord.read(run.path).status == "killed"
    with RunDirectory.open(run_request(config, "vae")) as again:
        assert again.record.run_id == run.record.run_id


def test_a_job_that_runs_again_waits_for_its_earlier_attempt(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that SLURM has given up may be alive behind a broken network."""
    first = RunDirectory.open(run_request(config, "vae"))
    name = str(first._lock.lock_file)
    first.close("killed")
    code = (
        f"import filelock, time; lock = filelock.FileLock({name!r}); lock.acquire(); "
        f"print('held', flush=True); time.sleep(3)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="is in use"):
        RunDirectory.open(run_request(config, "vae"))
    as_job(monkeypatch, "7", 1)
    with RunDirectory.open(run_request(config, "vae")) as run:
        assert run.record.attempts > 1
    assert other.wait(timeout=10) == 0
