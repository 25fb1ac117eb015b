"""One empty sqlite store for all tests of tracking: a new one takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store that was made where killed processes had left their side files; copy it."""
    from slams.tracking.database import make_database

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    for name in ("mlflow.db-journal", "mlflow.db-wal", ".mlflow.db.part", ".mlflow.db.part-wal"):
        (path.parent / name).write_bytes(b"of another file")
    make_database(path)
    return path
