"""The sqlite store is there in full or not at all, and one that is half made is made again."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from slams.config.schema import Config, TrackingConfig
from slams.errors import UserError
from slams.runs.sweep_record import SweepRecord
from slams.stages.places import tracking_store
from slams.tracking import database, store
from slams.tracking.sweeps import attach_comparison


@pytest.fixture
def config(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return a recipe whose store is made in an instant, as a copy."""

    def copy(path: Path) -> None:
        database._disconnect(f"sqlite:///{path}")
        database._remove(path)
        shutil.copyfile(template, path)

    monkeypatch.setattr(store, "make_database", copy)
    return Config(experiment="tiny", runs=str(tmp_path / "runs"))


def execute(path: Path, *statements: str) -> None:
    path.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_new_store_leaves_no_side_files(template: Path) -> None:
    assert [p.name for p in template.parent.iterdir()] == ["mlflow.db"]
    with sqlite3.connect(template) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


HALF = (
    # As left by a process that was killed in a migration of the table of runs.
    "create table alembic_version (version_num varchar(32) not null)",
    "insert into alembic_version values ('451aebb31d03')",
    "create table experiments (experiment_id integer primary key, name varchar)",
    "create table runs (run_uuid varchar primary key)",
    "create table _alembic_tmp_runs (run_uuid varchar primary key)",
)


@pytest.mark.parametrize("statements", [HALF, ()])
def test_a_store_that_is_half_made_is_made_again(
    config: Config, statements: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(config.runs) / "mlflow.db"
    execute(path, *statements)
    with tracking_store(config).connected() as (client, experiment_id):
        assert client.create_run(experiment_id).info.status == "RUNNING"
    assert len(MlflowClient(f"sqlite:///{path}").search_runs([experiment_id])) == 1
    assert "creating the tracking store" in capsys.readouterr().out


@pytest.mark.parametrize("table", ["runs", "_alembic_tmp_runs"])
def test_one_that_holds_runs_is_never_made_again(config: Config, table: str) -> None:
    path = Path(config.runs) / "mlflow.db"
    execute(path, *HALF, f"insert into {table} values ('precious')")
    with pytest.raises(UserError, match="cannot be used"), tracking_store(config).connected():
        pass
    with sqlite3.connect(path) as connection:
        assert connection.execute(f"select * from {table}").fetchall() == [("precious",)]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (cut, "database disk image is malformed"),
        (lambda path: path.write_bytes(b"no database at all" * 100), "file is not a database"),
        (replace_by_directory, "it is a directory"),
    ],
)
def test_one_that_is_damaged_is_named_at_once_and_kept(
    config: Config,
    template: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], object],
    problem: str,
) -> None:
    path = Path(config.runs).resolve() / "mlflow.db"
    path.parent.mkdir()
    shutil.copyfile(template, path)
    damage(path)
    content = None if path.is_dir() else path.read_bytes()
    monkeypatch.setattr("mlflow.MlflowClient", None)  # it would try again for minutes
    sweep = SweepRecord("fewer", "fewer.yaml", {}, sweep_id="s", mlflow_run_id="m")
    sweep.write(path.parent)
    for use in (
        lambda: tracking_store(config).connected().__enter__(),
        lambda: attach_comparison(tracking_store(config), path.parent, path.parent),
    ):
        with pytest.raises(UserError) as caught:
            use()
        assert str(caught.value) == (
            f"the tracking store {path} cannot be used ({problem}); restore it from a copy, or "
            f"move it away to begin a new one without its runs"
        )
    assert path.is_dir() or path.read_bytes() == content


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_is_cut_short_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    from mlflow.store.tracking import sqlalchemy_store

    def cut(uri: str, root: str) -> None:
        path = Path(uri.removeprefix("sqlite:///"))
        path.write_bytes(b"half")
        path.with_name(f"{path.name}-journal").write_bytes(b"half")
        raise error

    monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", cut)
    with pytest.raises(type(error)):
        database.make_database(tmp_path / "mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_artifacts_lie_beside_the_database(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server").mkdir()
    config.tracking = TrackingConfig(uri="sqlite:///server/mlflow.db")
    with tracking_store(config).connected() as (client, experiment_id):
        run_id = client.create_run(experiment_id).info.run_id
        client.log_text(run_id, "said", "note.txt")
    found = list(tmp_path.rglob("note.txt"))
    assert [p.is_relative_to(tmp_path / "server") for p in found] == [True]
    assert not (tmp_path / "mlruns").exists()


def test_a_directory_that_is_missing_is_named(config: Config, tmp_path: Path) -> None:
    config.tracking = TrackingConfig(uri=f"sqlite:///{tmp_path}/nowhere/mlflow.db")
    with pytest.raises(UserError, match="there is no directory"):
        tracking_store(config)._open()
