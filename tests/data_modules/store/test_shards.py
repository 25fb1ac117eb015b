"""Announcing reads to the disk: all bytes of the days, and nothing that slows reading."""

from __future__ import annotations

import os

import numpy as np
import pytest

from data_modules.store.files import HttpFiles, LocalFiles
from data_modules.store.shards import _MISSING
from data_modules.store.training_store import TrainingStore

FIRST = (5, 62, 100)


@pytest.fixture
def store(tiny_prepared) -> TrainingStore:
    """Return a store each file of which has been read."""
    store = TrainingStore.open(tiny_prepared)
    store.read(slice(None))
    return store


def runs(store: TrainingStore) -> list[tuple[int, np.ndarray]]:
    """Allocate four days from each position; the second ones are in two files."""
    shape = (4, len(store.channels), *store.grid.shape)
    return [(first, np.empty(shape, np.float32)) for first in FIRST]


def test_what_is_told_beforehand_is_what_is_read(store, monkeypatch) -> None:
    told, read = [], []
    read_into = LocalFiles.read_into
    monkeypatch.setattr(LocalFiles, "expect", lambda self, *where: told.append(where))

    def listen(self: LocalFiles, key: str, start: int, out: memoryview) -> None:
        read.append((key, start, len(out)))
        assert len(told) == 4, "something was read before all was told"
        read_into(self, key, start, out)

    monkeypatch.setattr(LocalFiles, "read_into", listen)
    wanted = runs(store)
    store.read_runs(wanted)
    assert sorted(told) == sorted(read)
    expected = store.read(slice(None))
    for first, got in wanted:
        np.testing.assert_array_equal(got, expected[first : first + 4])


def test_the_system_is_told_of_the_range(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    told = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *what: told.append(what))
    LocalFiles(tmp_path).expect("file", 10, 20)
    assert told == [(10, 20, os.POSIX_FADV_WILLNEED)]


def test_what_cannot_be_told_is_left_to_the_reading(tmp_path, store) -> None:
    LocalFiles(tmp_path).expect("no such file", 0, 1)
    HttpFiles("http://localhost:9/none").expect("anything", 0, 1)  # makes no request
    reader = store._opened["fields"][1]
    reader._index[0] = reader._index[0].copy()
    reader._index[0][6] = _MISSING
    reader.expect(5, 4)
    with pytest.raises(ValueError, match="a chunk is missing"):
        reader.read(5, runs(store)[0][1])
