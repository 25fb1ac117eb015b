"""A server that is not there, slow, or gone on the way: no stage suffers, nothing is lost."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy.exc import DatabaseError

from slams.config.schema import Config, TrackingConfig
from slams.runs.directory import RunDirectory
from slams.runs.record import RunRecord
from slams.stages.places import run_request, tracking_store
from slams.tracking import outbox
from slams.tracking import runs as tracking
from slams.tracking.store import SYNCED_FROM
from slams.tracking.sync import sync
from tests.tracking.stand_in import serve


@pytest.fixture
def config(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(outbox, "_PAUSES", (0.01, 0.01))
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "mlflow.db").write_bytes(template.read_bytes())
    section = TrackingConfig(uri="http://127.0.0.1:9", system_metrics=False)  # nobody listens
    return Config(experiment="tiny", runs=str(runs), tracking=section)


def at(config: Config, uri: str) -> Config:
    return replace(config, tracking=replace(config.tracking, uri=uri))


def local_runs(config: Config) -> list:
    client = MlflowClient(tracking_store(config).local.uri)
    experiment = client.get_experiment_by_name("tiny")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def stage(config: Config, steps: int = 3, meanwhile: dict | None = None) -> RunRecord:
    """Run a stage that logs at each step, and does something else before some of them."""
    with (
        RunDirectory.open(run_request(config, "vae")) as run,
        tracking.start(tracking_store(config), run) as tracker,
    ):
        # As Lightning does before a fit.
        assert tracker.logger.experiment is not None
        for step in range(steps):
            if meanwhile and step in meanwhile:
                meanwhile[step]()
            tracker.log_metrics({"loss": 1.0 / (step + 1)}, step)
        note = run.path / "note.txt"
        note.write_text("said once")
        tracker.log_artifact(note)
    assert run.record.status == "finished"
    return run.record


def steps_of(run, client: MlflowClient) -> list[int]:
    return [m.step for m in client.get_metric_history(run.info.run_id, "loss")]


def test_without_a_server_the_run_is_kept_locally(config: Config, capsys) -> None:
    record = stage(config)
    said = capsys.readouterr().out
    assert said.count("does not answer (connection refused)") == 1
    assert "for `slams sync`" in said
    (run,) = local_runs(config)
    assert (run.info.run_id, run.info.status) == (record.mlflow_run_id, "FINISHED")
    client = MlflowClient(tracking_store(config).local.uri)
    assert steps_of(run, client) == [0, 1, 2]
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {"config.yaml", "note.txt"}
    # What belongs to it later goes where it is.
    folder = Path(config.runs) / "report"
    folder.mkdir()
    (folder / "index.html").write_text("report")
    path = Path(config.runs) / "tiny/vae"
    tracking.attach(tracking_store(config), path, folder, "report")
    assert client.list_artifacts(run.info.run_id, "report")[0].path == "report/index.html"


def test_a_server_that_goes_on_the_way(config: Config, tmp_path: Path, capsys) -> None:
    def gone() -> None:
        deadline = time.monotonic() + 30
        while not server.runs or len(next(iter(server.runs.values()))["data"]["metrics"]) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.stop()

    with serve(tmp_path / "artifacts") as server:
        record = stage(at(config, server.uri), 5, {2: gone})
        (first,) = server.runs.values()
    said = capsys.readouterr().out
    assert said.count(f"the tracking store {server.uri} is lost (connection refused)") == 1
    assert [m["step"] for m in first["data"]["metrics"]] == [0, 1]
    (rest,) = local_runs(config)
    client = MlflowClient(tracking_store(config).local.uri)
    assert steps_of(rest, client) == [2, 3, 4]
    assert rest.info.status == "FINISHED"
    assert rest.data.tags["run_id"] == record.run_id
    # The run at the server stays the one that the record names.
    assert record.mlflow_run_id == first["info"]["run_id"] != rest.info.run_id


def test_a_slow_server_slows_nothing(config: Config, tmp_path: Path, capsys) -> None:
    with serve(tmp_path / "artifacts") as server:
        with (
            RunDirectory.open(run_request(at(config, server.uri), "vae")) as run,
            tracking.start(tracking_store(at(config, server.uri)), run) as tracker,
        ):
            answered = len(server.calls)
            server.delay = 0.2
            for step in range(500):
                tracker.log_metrics({"loss": 1.0}, step)
                assert len(server.calls) <= answered + 8  # nobody waited for an answer
        (first,) = server.runs.values()
        assert [m["step"] for m in first["data"]["metrics"]] == list(range(500))
        assert first["info"]["status"] == "FINISHED"
        # Numbers that wait are sent together.
        assert server.calls.count("runs/log-batch") < 20
    assert "lost" not in capsys.readouterr().out


def test_a_slow_start_asks_little(config: Config, tmp_path: Path) -> None:
    """Each call of two seconds before the first step is waited for."""
    with serve(tmp_path / "artifacts") as server:
        store = tracking_store(at(config, server.uri))
        run = RunDirectory.open(run_request(config, "vae"))
        held = threading.Event()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(outbox.Outbox, "_send", lambda *arguments: held.wait(30))
            tracker = tracking.start(store, run)
            assert server.calls == ["experiments/get-by-name", "runs/create"]
            held.set()
            tracker.close("failed")
        run.close("failed")


def test_the_two_parts_of_a_run_become_one(config: Config, tmp_path: Path, template: Path) -> None:
    server = tmp_path / "server"
    server.mkdir()
    (server / "mlflow.db").write_bytes(template.read_bytes())
    config = at(config, f"sqlite:///{server}/mlflow.db")
    store = tracking_store(config)
    client = MlflowClient(store.uri)
    with (
        RunDirectory.open(run_request(config, "vae")) as run,
        tracking.start(store, run) as tracker,
    ):
        tracker.log_metrics({"loss": 1.0}, 0)
        # As where the server is lost at this point.
        local, rest = tracking._open(store.local, run, {}, stands_in=True)
        local.log_metric(rest, "loss", 0.5, step=1)
        local.log_text(rest, "late", "late.txt")
        local.set_terminated(rest, "FINISHED")
    client.update_run(tracker.run_id, status="RUNNING")
    assert (sync(store).new, len(_server_runs(client))) == (0, 1)
    found = client.get_run(tracker.run_id)
    assert steps_of(found, client) == [0, 1]
    assert {f.path for f in client.list_artifacts(tracker.run_id)} == {"config.yaml", "late.txt"}
    assert sync(store).unchanged == 1


def test_a_run_that_began_locally_goes_on_at_the_server(
    config: Config, tmp_path: Path, template: Path
) -> None:
    server = tmp_path / "server"
    server.mkdir()
    (server / "mlflow.db").write_bytes(template.read_bytes())
    there = at(config, f"sqlite:///{server}/mlflow.db")
    run = RunDirectory.open(run_request(config, "vae"))
    tracker = tracking.start(tracking_store(config), run)
    tracker.log_metrics({"loss": 1.0}, 0)
    tracker.close("killed")
    run.close("killed")
    record = stage(there)
    client = MlflowClient(there.tracking.uri)
    (copy,) = _server_runs(client)
    assert copy.info.run_id == record.mlflow_run_id
    assert copy.data.tags[SYNCED_FROM] == local_runs(config)[0].info.run_id
    sync(tracking_store(there))
    (copy,) = _server_runs(client)
    # The attempt that was killed came before the one that has finished.
    assert copy.info.status == "FINISHED"
    assert sorted(steps_of(copy, client)) == [0, 0, 1, 2]


def _server_runs(client: MlflowClient) -> list:
    experiment = client.get_experiment_by_name("tiny")
    return list(client.search_runs([experiment.experiment_id]))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _mlflow_server(directory: Path, port: int) -> subprocess.Popen[bytes]:
    words = ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--host", "127.0.0.1"]
    words += ["--artifacts-destination", str(directory / "artifacts"), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--workers", "1"],
        cwd=directory,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return process
    raise TimeoutError


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_mlflow_s_own_server_killed_in_mid_training(
    config: Config, tmp_path: Path, template: Path, capsys
) -> None:
    server = tmp_path / "server"
    server.mkdir()
    (server / "mlflow.db").write_bytes(template.read_bytes())
    port = _free_port()
    config = at(config, f"http://127.0.0.1:{port}")
    process = _mlflow_server(server, port)
    try:
        client = MlflowClient(config.tracking.uri)

        def kill() -> None:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                runs = _server_runs(client)
                if runs and "loss" in runs[0].data.metrics:
                    break
                time.sleep(0.1)
            _kill(process)

        record = stage(config, 5, {2: kill})
        assert "is lost" in capsys.readouterr().out
        process = _mlflow_server(server, port)
        sync(tracking_store(config))
        (run,) = _server_runs(client)
        assert (run.info.run_id, run.info.status) == (record.mlflow_run_id, "FINISHED")
        assert steps_of(run, client) == [0, 1, 2, 3, 4]
        files = {f.path for f in client.list_artifacts(run.info.run_id)}
        assert files == {"config.yaml", "note.txt"}
    finally:
        if process.poll() is None:
            _kill(process)


def test_a_local_store_that_breaks_ends_the_tracking_with_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(client: object, run_id: str) -> None:
        raise DatabaseError("insert", None, sqlite3.DatabaseError("disk image is malformed"))

    calls = outbox.Outbox(object(), "one", "sqlite:///mlflow.db")  # type: ignore[arg-type]
    calls.put(broken)
    calls.put(broken)
    calls.close()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("the tracking store sqlite:///mlflow.db is lost (")
    assert "disk image is malformed" in line
    assert line.endswith("the run continues, and is no longer tracked")
