"""The sqlite file of a tracking store, made completely or not at all.

mlflow makes its tables in about fifty migrations that take ten seconds; it refuses a file whose
creation was interrupted. A new file is therefore made under another name. A file that an earlier
version of this program, or mlflow itself, has left half made holds no run: it is made again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from slams.errors import UserError

__all__ = [
    "artifacts_beside",
    "check_readable",
    "connect",
    "database_of",
    "holds_runs",
    "make_database",
    "unusable",
]

_SCHEME = "sqlite:///"
# Files of sqlite next to a database that is being written. A journal that is left behind would be
# applied to whatever file has the database's name later.
_SIDE_FILES = ("-journal", "-wal", "-shm")
# Tables that hold runs; the second one exists during a migration.
_RUNS = ("runs", "_alembic_tmp_runs")


def database_of(uri: str) -> Path | None:
    """Return the file of a sqlite store, `None` for any other tracking store.

    Args:
        uri: Address of the store.
    """
    return Path(uri.removeprefix(_SCHEME).partition("?")[0]) if uri.startswith(_SCHEME) else None


def check_readable(path: Path) -> None:
    """Refuse a file that is no sqlite database, or lacks its end.

    mlflow would try for minutes to open it.

    Args:
        path: The sqlite file, which need not exist.

    Raises:
        UserError: It cannot be read as a database.
    """
    problem = "it is a directory" if path.is_dir() else ""
    if path.is_file():
        try:
            with contextlib.closing(connect(path)) as db:
                db.execute("select 1 from sqlite_master").fetchone()
        except sqlite3.OperationalError:  # locked, or no permission: mlflow says so
            return
        except sqlite3.DatabaseError as error:
            problem = str(error)
    if problem:
        raise UserError(unusable(path, problem))


def unusable(path: Path, problem: str) -> str:
    """Return a sentence for a sqlite file that cannot be used.

    Args:
        path: The file.
        problem: What is wrong with it.
    """
    return (
        f"the tracking store {path} cannot be used ({problem}); restore it from a copy, or move "
        f"it away to begin a new one without its runs"
    )


def make_database(path: Path) -> None:
    """Make an empty tracking store, replacing a half-made one if there is any.

    The caller holds the lock of the store.

    Args:
        path: The sqlite file, whose directory exists.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    part = path.with_name(f".{path.name}.part")
    _remove(part)  # left by a process that was killed
    try:
        store = SqlAlchemyStore(f"{_SCHEME}{part.as_posix()}", artifacts_beside(path))
        store.engine.dispose()  # the last connection removes the side files
        with part.open("rb") as file:  # on disk before the name points to it
            os.fsync(file.fileno())
        _disconnect(f"{_SCHEME}{path.as_posix()}")
        _remove(path)
        part.replace(path)
    except BaseException:
        _remove(part)
        raise


def artifacts_beside(path: Path, experiment: str = "") -> str:
    """Return where the artifacts of a sqlite store are: next to it, whatever the directory.

    Args:
        path: The sqlite file.
        experiment: Name of an MLflow experiment.
    """
    return (path.parent / "mlflow-artifacts" / experiment).resolve().as_uri()


def holds_runs(path: Path) -> bool:
    """Return whether a sqlite file may hold runs; true also where it cannot be determined.

    Args:
        path: The file, which exists.
    """
    try:
        with contextlib.closing(connect(path)) as db:
            rows = db.execute("select name from sqlite_master where type = 'table'")
            tables = {name for (name,) in rows}
            return any(
                db.execute(f"select 1 from {table} limit 1").fetchone() is not None
                for table in _RUNS
                if table in tables
            )
    except sqlite3.Error:
        return True


def connect(path: Path) -> sqlite3.Connection:
    """Open a sqlite file that exists; the caller closes the connection.

    Args:
        path: The file.
    """
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)


def _remove(path: Path) -> None:
    """Remove a sqlite file, its side files first."""
    for name in (*(f"{path.name}{suffix}" for suffix in _SIDE_FILES), path.name):
        path.with_name(name).unlink(missing_ok=True)


def _disconnect(uri: str) -> None:
    """Close connections of this process to a file that is about to be replaced.

    mlflow keeps them for the whole process, and would continue to use the removed file.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = SqlAlchemyStore._engine_map.get(uri)
    if engine is not None:
        engine.dispose()
