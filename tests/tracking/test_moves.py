"""A directory of runs that is moved or copied keeps the artifacts of its tracked runs."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from slams.config.schema import Config, TrackingConfig
from slams.runs.directory import RunDirectory
from slams.stages.places import run_request, tracking_store
from slams.tracking import runs as tracking
from slams.tracking.moves import follow_move

# With characters that an address writes differently from a path.
_OLD, _NEW = "old 100% place", "new é place"


@pytest.fixture
def finished(tmp_path: Path, template: Path) -> tuple[Path, str]:
    """Return the directory of a finished, tracked run, and MLflow's id of the run."""
    runs = tmp_path / _OLD / "runs"
    runs.mkdir(parents=True)
    shutil.copyfile(template, runs / "mlflow.db")
    (tmp_path / "scores.txt").write_text("of the run")
    with (
        RunDirectory.open(run_request(config_of(runs), "vae")) as run,
        tracking.start(tracking_store(config_of(runs)), run) as tracker,
    ):
        tracker.log_artifact(tmp_path / "scores.txt", "tables")
    return runs, tracker.run_id


def config_of(runs: Path) -> Config:
    return Config(experiment="tiny", runs=str(runs), tracking=TrackingConfig(system_metrics=False))


def opened(runs: Path) -> tuple[MlflowClient, str]:
    """Return a client of the store, as another process opens it."""
    utils._artifact_repos_cache.clear()  # mlflow keeps the address of each run that it has used
    with tracking_store(config_of(runs)).connected() as connection:
        return connection


def read(client: MlflowClient, run_id: str, path: str, to: Path) -> str:
    to.mkdir()
    return Path(client.download_artifacts(run_id, path, str(to))).read_text()


def test_a_moved_directory_keeps_its_artifacts(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, run_id = finished
    new = tmp_path / _NEW / "elsewhere"
    new.parent.mkdir()
    old.rename(new)
    capsys.readouterr()
    client, experiment_id = opened(new)
    assert "artifacts of 1 runs are now looked for beside it" in capsys.readouterr().out
    assert [a.path for a in client.list_artifacts(run_id, "tables")] == ["tables/scores.txt"]
    assert read(client, run_id, "tables/scores.txt", tmp_path / "copy") == "of the run"
    # The tag that `slams sync` looks for a killed run by; and what is written from now on.
    assert client.get_run(run_id).data.tags["directory"] == str((new / "tiny/vae").resolve())
    client.log_text(client.create_run(experiment_id).info.run_id, "later", "note.txt")
    client.log_text(run_id, "more", "note.txt")
    assert len(list(new.rglob("note.txt"))) == 2
    assert not old.exists()
    content = (new / "mlflow.db").read_bytes()
    capsys.readouterr()
    opened(new)
    assert capsys.readouterr().out == ""
    assert (new / "mlflow.db").read_bytes() == content


def test_a_copied_directory_refers_to_its_own_artifacts(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    original, run_id = finished
    copied = tmp_path / "copied"
    shutil.copytree(original, copied)
    content = (original / "mlflow.db").read_bytes()
    client, _ = opened(copied)
    next((copied / "mlflow-artifacts").rglob("scores.txt")).write_text("of the copy")
    assert read(client, run_id, "tables/scores.txt", tmp_path / "a") == "of the copy"
    client, _ = opened(original)
    assert read(client, run_id, "tables/scores.txt", tmp_path / "b") == "of the run"
    assert (original / "mlflow.db").read_bytes() == content


def test_a_database_alone_still_refers_to_the_artifacts_that_it_left(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    original, run_id = finished
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copyfile(original / "mlflow.db", alone / "mlflow.db")
    client, _ = opened(alone)
    assert read(client, run_id, "tables/scores.txt", tmp_path / "a") == "of the run"
    assert client.get_run(run_id).data.tags["directory"].startswith(str(original.resolve()))


@pytest.mark.parametrize(
    "address", ["s3://bucket/mlflow-artifacts/tiny", Path("/gone/tiny").as_uri()]
)
def test_artifacts_that_were_never_beside_the_store_are_left_alone(
    finished: tuple[Path, str], address: str
) -> None:
    runs, run_id = finished
    with sqlite3.connect(runs / "mlflow.db") as connection:
        connection.execute("update runs set artifact_uri = ?", (address,))
        connection.execute("update experiments set artifact_location = ?", (address,))
    connection.close()
    client, experiment_id = opened(runs)
    assert client.get_run(run_id).info.artifact_uri == address
    assert client.get_experiment(experiment_id).artifact_location == address


def test_one_transaction(finished: tuple[Path, str], tmp_path: Path) -> None:
    old, run_id = finished
    new = tmp_path / "new"
    old.rename(new)
    with sqlite3.connect(new / "mlflow.db") as connection:
        connection.execute(
            "create trigger broken before update on tags begin select raise(abort, 'no'); end"
        )
    connection.close()
    follow_move(new / "mlflow.db")  # mlflow reports what is wrong with the file
    with sqlite3.connect(new / "mlflow.db") as connection:
        rows = connection.execute("select artifact_uri from runs where run_uuid = ?", (run_id,))
        assert "old%20100%25%20place" in rows.fetchone()[0]
    connection.close()
    follow_move(tmp_path / "nothing.db")
    assert not (tmp_path / "nothing.db").exists()
