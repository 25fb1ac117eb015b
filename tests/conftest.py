"""Fixtures for all tests: a synthetic nature run, a recipe for it, and its training store.

The run and the store are made once per session and never changed; a test that damages one copies
it first (`shutil.copytree`), or prepares its own from `tiny_source`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_modules.preparation import memory_budget
from slams.config.schema import Config
from tests.synthetic import nature_run, tiny_recipe


@pytest.fixture(scope="session", autouse=True)
def program_memory() -> Iterator[None]:
    """Replace the memory of the program by that of the command, without that of earlier tests.

    A worker that has run two thousand tests uses 1.7 GB, for which preparations would be refused.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_budget, "resident_memory", lambda: 700 * 2**20)
        yield


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a nature run: 110 days, 12 x 24, two levels (Zarr)."""
    path = tmp_path_factory.mktemp("source") / "nature.zarr"
    nature_run().to_zarr(path, zarr_format=3, consolidated=False)
    return path


@pytest.fixture(scope="session")
def tiny_prepared(tmp_path_factory: pytest.TempPathFactory, tiny_source: Path) -> Path:
    """Return the path of the prepared training store, which tests may only read."""
    from slams.stages.sources import prepare

    return prepare(tiny_recipe(tmp_path_factory.mktemp("prepared"), tiny_source))


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_source: Path, tiny_prepared: Path) -> Config:
    """Return a recipe whose store is prepared; its runs go to the test's own directory."""
    return tiny_recipe(tmp_path, tiny_source, store=str(tiny_prepared))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store that was made where killed processes had left their side files; copy it."""
    from slams.tracking.database import make_database

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    for name in ("mlflow.db-journal", "mlflow.db-wal", ".mlflow.db.part", ".mlflow.db.part-wal"):
        (path.parent / name).write_bytes(b"of another file")
    make_database(path)
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the directory of real data, or skip the test."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    path = Path(os.environ.get("SLAMS_SHARED_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no real data at {path}; set SLAMS_SHARED_DATA to their directory")
    return path
