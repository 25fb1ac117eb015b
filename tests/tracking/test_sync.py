"""Copying runs to a server: once each, whole, brought up to date, and right about who died."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from slams.cli.main import main
from slams.config.schema import Config, TrackingConfig
from slams.errors import UserError
from slams.runs.directory import RunDirectory
from slams.stages.places import run_request, tracking_store
from slams.tracking import runs
from slams.tracking.sync import SYNCED_FROM, Synced, sync


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A recipe whose server cannot be reached by the processes that run it."""
    root = tmp_path_factory.mktemp("offline")
    server = f"sqlite:///{root / 'server' / 'mlflow.db'}"
    (root / "server").mkdir()
    return Config(
        experiment="tiny",
        runs=str(root / "runs"),
        tracking=TrackingConfig(uri=server, offline=True, system_metrics=False),
    )


@pytest.fixture(scope="module")
def first(offline: Config) -> Synced:
    """A finished stage and one that is at work, copied once."""
    with (
        RunDirectory.open(run_request(offline, "vae")) as run,
        runs.start(tracking_store(offline), run) as tracker,
    ):
        for step in range(3):
            tracker.log_metrics({"loss": 1.0 / (step + 1), "nothing": math.nan}, step)
        note = run.path / "note.txt"
        note.write_text("said once")
        tracker.log_artifact(note, "notes")
    return sync(tracking_store(offline))


def server_runs(config: Config) -> list:
    client = MlflowClient(config.tracking.uri)
    experiment = client.get_experiment_by_name(config.experiment)
    return client.search_runs([experiment.experiment_id])


def test_a_run_is_copied_whole(offline: Config, first: Synced) -> None:
    assert first == Synced(new=1, extended=0, unchanged=0)
    local = MlflowClient(tracking_store(offline).uri)
    client = MlflowClient(offline.tracking.uri)
    (copy,) = server_runs(offline)
    original = local.get_run(copy.data.tags[SYNCED_FROM])
    assert copy.info.status == "FINISHED"
    assert (copy.info.start_time, copy.info.end_time) == (
        original.info.start_time,
        original.info.end_time,
    )
    assert copy.data.params == original.data.params
    assert copy.info.run_name == original.info.run_name
    for key in ("loss", "nothing"):
        points = [
            [
                (m.step, m.timestamp, repr(m.value))
                for m in c.get_metric_history(r.info.run_id, key)
            ]
            for c, r in ((local, original), (client, copy))
        ]
        assert points[0] == points[1]
        assert len(points[0]) == 3
    text = Path(client.download_artifacts(copy.info.run_id, "notes/note.txt")).read_text()
    assert text == "said once"


def test_again_changes_nothing(offline: Config, first: Synced) -> None:
    assert sync(tracking_store(offline)) == Synced(new=0, extended=0, unchanged=1)
    assert len(server_runs(offline)) == 1


def test_what_came_since_is_added(offline: Config, first: Synced) -> None:
    (copy,) = server_runs(offline)
    local = MlflowClient(tracking_store(offline).uri)
    original = copy.data.tags[SYNCED_FROM]
    local.log_metric(original, "loss", 0.1, step=9)
    local.log_text(original, "later", "notes/later.txt")
    assert sync(tracking_store(offline), dry_run=True) == Synced(0, 1, 0)
    assert sync(tracking_store(offline)) == Synced(0, 1, 0)
    client = MlflowClient(offline.tracking.uri)
    steps = [m.step for m in client.get_metric_history(copy.info.run_id, "loss")]
    assert steps == [0, 1, 2, 9]
    assert client.list_artifacts(copy.info.run_id, "notes")[0].path == "notes/later.txt"


def test_an_interrupted_copy_is_completed(
    offline: Config, first: Synced, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        RunDirectory.open(run_request(offline, "score")) as run,
        runs.start(tracking_store(offline), run) as tracker,
    ):
        tracker.log_metrics({"loss": 2.0}, 5)

    def cut(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("slams.tracking.sync._fill", cut)
        with pytest.raises(KeyboardInterrupt):
            sync(tracking_store(offline))
    count = len(server_runs(offline))
    found = sync(tracking_store(offline))
    assert (found.new, len(server_runs(offline))) == (0, count)
    copy = next(r for r in server_runs(offline) if r.data.tags["stage"] == "score")
    assert (copy.data.metrics["loss"], copy.info.status) == (2.0, "FINISHED")


def test_a_nested_run_is_below_the_copy_of_its_parent(offline: Config, first: Synced) -> None:
    local = MlflowClient(tracking_store(offline).uri)
    experiment = local.get_experiment_by_name("tiny").experiment_id
    parent = local.create_run(experiment, run_name="sweep").info.run_id
    child = local.create_run(experiment, tags={"mlflow.parentRunId": parent}).info.run_id
    for run_id in (child, parent):
        local.set_terminated(run_id)
    sync(tracking_store(offline))
    copies = {r.data.tags[SYNCED_FROM]: r for r in server_runs(offline)}
    assert copies[child].data.tags["mlflow.parentRunId"] == copies[parent].info.run_id
    assert copies[parent].info.run_id != parent


def test_a_run_whose_process_has_gone_was_killed(offline: Config, first: Synced) -> None:
    run = RunDirectory.open(run_request(offline, "assimilation"))
    tracker = runs.start(tracking_store(offline), run)
    sync(tracking_store(offline))
    statuses = {r.data.tags.get("stage"): r.info.status for r in server_runs(offline)}
    assert statuses["assimilation"] == "RUNNING"  # its process holds the directory: this one
    run._lock.release()  # as the system does when a process is killed
    sync(tracking_store(offline))
    statuses = {r.data.tags.get("stage"): r.info.status for r in server_runs(offline)}
    assert statuses["assimilation"] == "KILLED"
    assert tracker.run_id


def test_without_a_server_there_is_nothing_to_copy_to(
    offline: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = replace(offline, tracking=TrackingConfig())
    with pytest.raises(UserError, match=r"'tracking\.uri'.*found no server"):
        sync(tracking_store(nowhere))
    with pytest.raises(UserError, match=r"mlflow\.db does not exist"):
        sync(tracking_store(replace(offline, runs=str(tmp_path / "runs"))))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("experiment: tiny\n")
    assert main(["sync", str(recipe)]) == 2
    assert "tracking.uri" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
