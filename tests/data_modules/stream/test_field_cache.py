"""The cache equals the store, is built once, and is built again if it is damaged."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.store.periods import runs_of
from data_modules.store.training_store import TrainingStore
from data_modules.stream import field_cache
from data_modules.stream.field_cache import (
    MemoryFields,
    cache_directory,
    load_fields,
    map_fields,
)
from slams.errors import UserError
from slams.stages.data import reanalysis

ORDER = np.array([5, 6, 7, 109, 0, 1, -1, 0, 63, 64, 65])


def filled(source, shape) -> np.ndarray:
    out = np.full((len(ORDER), *shape[1:]), -1.0, np.float32)
    source.fill(ORDER, out)
    return out


@pytest.mark.parametrize("names", [None, ["temperature@500", "temperature@850"]])
def test_every_source_gives_the_stores_days(tiny_prepared, tmp_path, names):
    store = TrainingStore.open(tiny_prepared, names)
    expected = store.read(slice(None))
    mapped = map_fields(store, tmp_path)
    np.testing.assert_array_equal(mapped.fields, expected)
    for source in (mapped, load_fields(store), pickle.loads(pickle.dumps(mapped))):
        got = filled(source, expected.shape)
        np.testing.assert_array_equal(got[ORDER >= 0], expected[ORDER[ORDER >= 0]])
        assert (got[ORDER < 0] == -1).all()


def test_runs_are_those_of_neighbours():
    assert list(runs_of(ORDER)) == [(0, 5, 3), (3, 109, 1), (4, 0, 2), (7, 0, 1), (8, 63, 3)]
    assert list(runs_of(np.array([-1, 0]))) == [(1, 0, 1)]
    assert list(runs_of(np.zeros(0, np.int64))) == []


def test_every_window_is_announced_before_the_first_is_copied(
    tiny_prepared, tmp_path, monkeypatch
):
    mapped = map_fields(TrainingStore.open(tiny_prepared), tmp_path)
    shape, size = mapped.fields.shape, mapped.fields[0].nbytes
    told: list[tuple[int, int]] = []

    class Announced:
        def madvise(self, option: int, start: int, length: int) -> None:
            assert option == mmap.MADV_WILLNEED
            told.append((start, start + length))

    copied = []
    monkeypatch.setattr(MemoryFields, "fill", lambda *_: copied.append(len(told)))
    mapped._map._mmap, offset = Announced(), mapped._map.offset
    filled(mapped, shape)
    assert copied == [5]
    for (begin, end), (_, first, count) in zip(told, runs_of(ORDER), strict=True):
        assert begin % mmap.PAGESIZE == 0
        assert begin <= offset + first * size
        assert end >= offset + (first + count) * size


def test_a_map_that_was_closed_opens_again(tiny_prepared, tmp_path):
    store = TrainingStore.open(tiny_prepared)
    mapped = map_fields(store, tmp_path)
    before = filled(mapped, mapped.fields.shape)
    mapped.close()
    np.testing.assert_array_equal(filled(mapped, mapped.fields.shape), before)


def test_a_file_is_built_once_and_keyed_by_content_and_channels(tiny_prepared, tmp_path):
    store = TrainingStore.open(tiny_prepared)
    path = map_fields(store, tmp_path).path
    before = path.stat().st_mtime_ns
    assert map_fields(store, tmp_path).path == path
    assert path.stat().st_mtime_ns == before
    others = [
        store.select(["temperature@850"]),
        replace(store, attributes={**store.attributes, "fingerprint": "other"}),
    ]
    assert len({map_fields(s, tmp_path).path for s in (store, *others)}) == 3


@pytest.mark.parametrize("damage", ["byte", "length", "record", "rest"])
def test_a_damaged_file_is_built_again(tiny_prepared, tmp_path, damage):
    store = TrainingStore.open(tiny_prepared)
    path = map_fields(store, tmp_path).path
    if damage == "byte":
        with path.open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(b"\x00\xff\x00\xff")
    elif damage == "length":
        os.truncate(path, path.stat().st_size - 4)
    elif damage == "record":
        path.with_suffix(".json").write_text("{")
    else:  # a process that was killed while it wrote
        path.rename(path.with_name(f".{path.stem}.tmp.npy"))
    np.testing.assert_array_equal(map_fields(store, tmp_path).fields, store.read(slice(None)))


def _map(arguments: tuple[str, str]) -> bool:
    """Open the cache in a separate process; return whether this process built it."""
    built = []
    build = field_cache._build
    field_cache._build = lambda *a: built.append(build(*a))
    map_fields(TrainingStore.open(arguments[0]), Path(arguments[1]))
    return bool(built)


def test_processes_that_come_together_build_one_file(tiny_prepared, tmp_path):
    with multiprocessing.get_context("forkserver").Pool(3) as pool:
        built = pool.map(_map, [(str(tiny_prepared), str(tmp_path))] * 6, chunksize=1)
    assert sum(built) == 1
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_a_disk_without_room_is_refused(tiny_prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(
        field_cache.shutil, "disk_usage", lambda p: type("Usage", (), {"free": 10})
    )
    with pytest.raises(UserError, match=r"data\.cache_directory") as refusal:
        map_fields(TrainingStore.open(tiny_prepared), tmp_path / "there")
    assert "GB free" in str(refusal.value)
    assert not list((tmp_path / "there").glob("*.npy"))


def test_a_store_on_a_server_has_no_place_beside_it(tiny_prepared):
    store = TrainingStore.open(tiny_prepared)
    assert cache_directory(store, "") == tiny_prepared.with_name("store.zarr.cache")
    away = replace(store, path="https://example.org/store.zarr")
    assert cache_directory(away, "here") == Path("here")
    with pytest.raises(UserError, match=r"data\.cache_directory"):
        cache_directory(away, "")


@pytest.mark.parametrize(("cache", "workers"), [("memory", 0), ("mmap", 0), ("mmap", 2)])
def test_batches_do_not_depend_on_the_cache(tiny_config, tmp_path, cache, workers):
    def batches(**data):
        settings = {"cache_directory": str(tmp_path), "window": 3, **data}
        config = replace(tiny_config, data=replace(tiny_config.data, **settings))
        return [(w.case, w.fields.clone()) for w in reanalysis(config).train_dataloader()]

    plain = batches(cache="none", ahead=0)
    cached = batches(cache=cache, num_workers=workers)
    assert len(plain) == len(cached) == 8
    for (case, fields), (other, same) in zip(plain, cached, strict=True):
        assert torch.equal(case, other)
        assert torch.equal(fields, same)
