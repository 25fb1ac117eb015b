"""MLflow: one run a stage, found again on resume, with lineage, and silent where it must be.

A new sqlite store takes seconds: all of it happens in one, made once for this file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slams.config.schema import Config, SplitsConfig, TrackingConfig
from slams.errors import UserError
from slams.runs.directory import RunDirectory
from slams.stages.places import run_request, tracking_store
from slams.tracking import runs as tracking
from slams.tracking.tracked_run import TrackedRun, resume_run


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    # No measurement of the machine comes in between, however busy it is.
    quiet = TrackingConfig(system_seconds=3600.0)
    runs = str(tmp_path_factory.mktemp("tracked") / "runs")
    return Config(experiment="tiny", runs=runs, tracking=quiet)


@pytest.fixture(scope="module")
def tracked(config: Config) -> tuple[RunDirectory, str]:
    """A stage that was killed after it had logged something."""
    reserved = ["1984-06-01", "1984-12-31"]
    data = replace(config.data, splits=SplitsConfig(test=["1984-01-01", "1984-12-31"]))
    config = replace(config, data=data)
    run = RunDirectory.open(run_request(config, "score", {"vae": "abc"}, "f00", reserved))
    tracker = tracking.start(tracking_store(config), run)
    with pytest.raises(KeyboardInterrupt), run, tracker:
        log_and_stop(tracker)
    return run, tracker.run_id


def log_and_stop(tracker: tracking.Tracker) -> None:
    logger = tracker.logger
    logger.log_hyperparams({"seed": "another value of a parameter that is there"})
    logger.log_metrics({"train/loss": 0.5, "rmse/temperature@850": 1.25}, step=3)
    # Lightning opens its loggers before a fit and closes them after; the stage has not ended.
    assert logger.experiment.get_run(tracker.run_id).info.run_id == tracker.run_id
    logger.finalize("success")
    assert mlflow_run(tracker.uri, tracker.run_id).info.status == "RUNNING"
    raise KeyboardInterrupt


def mlflow_run(uri: str, run_id: str):
    from mlflow import MlflowClient

    return MlflowClient(uri).get_run(run_id)


def test_the_store_is_named_explicitly(config: Config) -> None:
    runs = Path(config.runs).resolve()
    assert tracking_store(config).uri == f"sqlite:///{runs}/mlflow.db"
    assert tracking_store(replace(config, runs="runs")).uri.startswith("sqlite:////")
    other = replace(config, tracking=TrackingConfig(uri="sqlite:////elsewhere.db"))
    assert tracking_store(other).uri == "sqlite:////elsewhere.db"


def test_what_a_run_holds(config: Config, tracked: tuple[RunDirectory, str]) -> None:
    run, run_id = tracked
    found = mlflow_run(tracking_store(config).uri, run_id)
    assert found.info.status == "KILLED"
    assert found.info.run_name == "tiny/score"
    assert found.data.metrics == {"train/loss": 0.5, "rmse/temperature_850": 1.25}
    assert found.data.params["vae.latent_channels"] == "32"
    assert found.data.params["seed"] == "0"
    tags = found.data.tags
    assert (tags["stage"], tags["run_id"], tags["vae_run_id"]) == (
        "score",
        run.record.run_id,
        "abc",
    )
    assert tags["data_fingerprint"] == "f00"
    assert tags["test_days"] == "reserved, not read"
    artifacts = Path(found.info.artifact_uri.removeprefix("file://"))
    assert artifacts.is_relative_to(Path(config.runs).resolve())
    assert (artifacts / "config.yaml").read_text() == (run.path / "config.yaml").read_text()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_resumed_stage_continues_its_run(
    config: Config, tracked: tuple[RunDirectory, str], tmp_path: Path
) -> None:
    _, run_id = tracked
    uri = tracking_store(config).uri
    (tmp_path / "figure.svg").write_text("<svg/>")
    with RunDirectory.open(run_request(config, "score", {"vae": "abc"})) as run:
        assert run.record.mlflow_run_id == run_id
        # Parameters of an earlier attempt that may differ, such as devices, do not stop it.
        changed = replace(config, trainer=replace(config.trainer, devices=2))
        with tracking.start(tracking_store(changed), run) as tracker:
            assert tracker.run_id == run_id
            assert mlflow_run(uri, run_id).info.status == "RUNNING"
            tracker.log_metrics({f"many/{i}": i for i in range(1100)}, step=4)
            tracker.log_artifact(tmp_path / "figure.svg", "figures")
    found = mlflow_run(uri, run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics["train/loss"] == 0.5
    assert found.data.metrics["many/1099"] == 1099
    artifacts = Path(found.info.artifact_uri.removeprefix("file://"))
    assert (artifacts / "figures/figure.svg").exists()
    # The report is made after the stage, and belongs to its run all the same.
    tracking.attach(tracking_store(config), run.path, tmp_path, "report")
    assert (artifacts / "report/figure.svg").exists()
    assert mlflow_run(uri, run_id).info.status == "FINISHED"


def test_other_keys_of_an_attempt_are_said(
    config: Config, tracked: tuple[RunDirectory, str]
) -> None:
    changed = replace(
        config, trainer=replace(config.trainer, devices=2, log_every_seconds=3.0), resume="never"
    )
    with RunDirectory.open(run_request(config, "assimilation-other")) as run:
        tracking.start(tracking_store(config), run).close("killed")
        run.request = run_request(changed, "assimilation-other")
        run.record = replace(run.record, attempts=2)
        with tracking.start(tracking_store(changed), run) as tracker:
            pass
    found = mlflow_run(tracker.uri, tracker.run_id).data
    # Parameters stay those of the first attempt; how the command was typed is not one of them.
    assert found.params["trainer.devices"] == "1"
    assert found.tags["changed_in_attempt_2"] == (
        "trainer.devices=2 (first 1); trainer.log_every_seconds=3.0 (first 10.0)"
    )


def test_a_run_whose_id_was_not_kept_is_found(
    config: Config, tracked: tuple[RunDirectory, str]
) -> None:
    """The process was killed between creating it and writing its id."""
    config = replace(config, experiment="lost")
    run = RunDirectory.open(run_request(config, "vae"))
    first = tracking.start(tracking_store(config), run)
    first.close("killed")
    run.update(mlflow_run_id="")
    run.close("killed")
    with (
        RunDirectory.open(run_request(config, "vae")) as again,
        tracking.start(tracking_store(config), again) as tracker,
    ):
        assert tracker.run_id == first.run_id
    assert again.record.mlflow_run_id == first.run_id


def test_a_failure_is_recorded(config: Config, tracked: tuple[RunDirectory, str]) -> None:
    run = RunDirectory.open(run_request(config, "vae"))
    tracker = tracking.start(tracking_store(config), run)

    def stage() -> None:
        with run, tracker:
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        stage()
    found = mlflow_run(tracker.uri, tracker.run_id)
    assert found.info.status == "FAILED"
    assert run.record.status == "failed"
    # What mlflow's page shows beside the run, and the whole of it as a file.
    assert found.data.tags["error"].endswith("RuntimeError: a defect\n")
    text = (Path(found.info.artifact_uri.removeprefix("file://")) / "error.txt").read_text()
    assert text.startswith("Traceback")
    assert "in stage" in text


def test_the_machine_is_measured_while_a_stage_runs(
    config: Config, tracked: tuple[RunDirectory, str]
) -> None:
    often = replace(config, tracking=TrackingConfig(system_seconds=0.05))
    with (
        RunDirectory.open(run_request(often, "score_pixel")) as run,
        tracking.start(tracking_store(often), run) as tracker,
    ):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            metrics = mlflow_run(tracker.uri, tracker.run_id).data.metrics
            if "system/cpu_utilization_percentage" in metrics:
                break
            time.sleep(0.05)
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
    assert metrics["system/system_memory_usage_megabytes"] > 0
    off = replace(config, tracking=TrackingConfig(system_metrics=False))
    with (
        RunDirectory.open(run_request(off, "pixel")) as run,
        tracking.start(tracking_store(off), run) as tracker,
    ):
        assert tracker._monitor is None


def test_a_finished_run_is_not_opened_again(
    config: Config, tracked: tuple[RunDirectory, str]
) -> None:
    with RunDirectory.open(run_request(config, "assimilation")):
        pass
    with (
        RunDirectory.open(run_request(config, "assimilation")) as run,
        tracking.start(tracking_store(config), run) as tracker,
    ):
        assert run.finished
        assert tracker.run_id == ""


def test_switched_off_it_does_nothing(config: Config, tmp_path: Path) -> None:
    off = replace(config, runs=str(tmp_path / "off"), tracking=TrackingConfig(enabled=False))
    with (
        RunDirectory.open(run_request(off, "vae")) as run,
        tracking.start(tracking_store(off), run) as tracker,
    ):
        assert tracker.logger is None
        tracker.log_metrics({"train/loss": 1.0})
        tracker.log_artifact(tmp_path / "not there")
    tracking.attach(tracking_store(off), run.path, tmp_path, "report")
    assert not (tmp_path / "off" / "mlflow.db").exists()


def test_other_ranks_open_no_store(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    away = replace(config, runs=str(tmp_path / "away"))
    with (
        RunDirectory.open(run_request(away, "vae")) as run,
        tracking.start(tracking_store(away), run) as tracker,
    ):
        # A logger all the same, so that every rank walks through the same code of Lightning.
        tracker.logger.log_metrics({"train/loss": 1.0}, step=1)
        tracker.log_metrics({"train/loss": 1.0})
    assert not (tmp_path / "away").exists()


def test_a_server_that_cannot_be_used_is_the_users_to_correct(
    config: Config, tmp_path: Path
) -> None:
    wrong = replace(
        config, runs=str(tmp_path / "wrong"), tracking=TrackingConfig(uri="ftp//nowhere")
    )
    run = RunDirectory.open(run_request(wrong, "vae"))
    with pytest.raises(UserError, match=r"'tracking\.uri'.*tracking\.enabled=false"):
        tracking.start(tracking_store(wrong), run)
    run.close("failed")


def test_asking_for_the_store_imports_no_mlflow() -> None:
    code = (
        "import sys; from slams.tracking import runs; "
        "from slams.config.schema import Config; "
        "from slams.stages.places import tracking_store; "
        "tracking_store(Config()).uri; print('mlflow' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_one_resume_for_runs_and_sweeps(config: Config, tracked: tuple[RunDirectory, str]) -> None:
    run, run_id = tracked
    store = tracking_store(config)
    with store.connected() as (client, experiment):

        def find(mlflow_run_id: str, own: str, is_new: bool = False) -> str:
            return TrackedRun(own, mlflow_run_id, "", dict, is_new).find(client, experiment)

        client.set_terminated(run_id, "KILLED")
        client.delete_run(run_id)  # by hand, in the page of MLflow
        assert find(run_id, run.record.run_id) == run_id
        resume_run(client, run_id)
        info = client.get_run(run_id).info
        assert (info.status, info.lifecycle_stage) == ("RUNNING", "active")
        # Its id was not recorded, or is that of another store: its tag finds it.
        assert find("", run.record.run_id) == find("0" * 32, run.record.run_id) == run_id
        # The store was removed and made again; or there was no earlier attempt.
        assert find("0" * 32, "0" * 32) == ""
        assert find("", "0" * 32) == find("", run.record.run_id, is_new=True) == ""
        client.set_terminated(run_id, "KILLED")
