"""The work on blocks: opened once in each process, for every scheduler."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from data_modules.preparation import block_task
from data_modules.preparation import memory_budget as budgets
from data_modules.preparation.block_task import BlockWork
from data_modules.preparation.plan import plan
from data_modules.store.writing import create_steps
from slams.config.schema import Config, DataConfig, PrepareConfig
from slams.stages.sources import prepare
from tests.data_modules.preparation.test_resuming import contents
from tests.synthetic import nature_run, tiny_recipe

PLUGIN = "data_modules.preparation.worker_plugin"


class Workers:
    """Stand-in for dask.distributed, which sends pickled calls to two workers in turn.

    Both are in this process, but share only what is imported.
    """

    def __init__(self) -> None:
        self.plugins: list[dict[str, bytes | object]] = [{}, {}]
        self.calls = 0
        self.sent: list[bytes] = []
        module = types.ModuleType("distributed")
        module.WorkerPlugin = object
        module.LocalCluster = lambda **options: types.SimpleNamespace(close=lambda: None)
        module.Client = lambda cluster: self
        module.get_worker = lambda: types.SimpleNamespace(
            plugins=self.plugins[self.calls % len(self.plugins)]
        )
        self.module = module

    def register_plugin(self, plugin: object, name: str) -> None:
        self.sent.append(pickle.dumps(plugin))
        for plugins in self.plugins:
            plugins[name] = pickle.loads(self.sent[-1])

    def submit(self, function, /, *arguments: object, pure: bool) -> Future:
        assert not pure
        self.calls += 1
        function, arguments = pickle.loads(pickle.dumps((function, arguments)))
        future: Future = Future()
        future.set_result(pickle.loads(pickle.dumps(function(*arguments))))
        return future

    def close(self) -> None:
        pass


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    found = Workers()
    monkeypatch.setitem(sys.modules, "distributed", found.module)
    # Bound to the stand-in while the test lasts, and no longer.
    before = sys.modules.pop(PLUGIN, None)
    yield found
    sys.modules.pop(PLUGIN, None)
    if before is not None:
        sys.modules[PLUGIN] = before


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the stores whose source a task opens by itself."""
    found = []
    plan = block_task.plan

    def noted(data):
        found.append(data.store)
        return plan(data)

    monkeypatch.setattr(block_task, "plan", noted)
    # Blocks of one file each.
    monkeypatch.setattr(budgets, "BLOCK_STEPS", 64)
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a nature run of five files."""
    path = tmp_path_factory.mktemp("source") / "nature.zarr"
    nature_run(days=300, rows=6, columns=12).to_zarr(path, zarr_format=3, consolidated=False)
    return path


def by(scheduler: str, config: Config) -> Config:
    keys = PrepareConfig(scheduler=scheduler, workers=2)
    return replace(config, data=replace(config.data, prepare=keys))


def unfinished(data: DataConfig, partial: Path) -> BlockWork:
    """Begin a store, and return the work on its blocks."""
    work = plan(data)
    group = zarr.create_group(str(partial))
    shape = (len(work.time), len(work.channels), *work.grid.shape)
    create_steps(group, "fields", shape, ("time", "channel", "latitude", "longitude"))
    return BlockWork(data, partial, 64)


def test_each_worker_opens_once_and_writes_the_same_bytes(tmp_path, source, workers, plans):
    config = by("distributed", tiny_recipe(tmp_path / "two", source))
    prepare(config)
    # Five blocks are written, and the two of training days are summed twice.
    assert workers.calls == 5 + 2 * 2
    assert plans == [config.data.store] * len(workers.plugins)
    # Each task is sent once, and without what is open here.
    assert len(workers.sent) == 3
    assert len(workers.sent[0]) < 10_000
    alone = by("threads", tiny_recipe(tmp_path / "one", source))
    prepare(alone)
    assert contents(Path(config.data.store)) == contents(Path(alone.data.store))


def test_threads_share_the_plan_that_is_there(tmp_path, source, plans):
    prepare(by("threads", tiny_recipe(tmp_path, source)))
    assert plans == []


def test_threads_that_come_together_open_once(tmp_path, source, plans):
    task = unfinished(tiny_recipe(tmp_path, source).data, tmp_path / "partial")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(task, range(0, 256, 64), range(64, 257, 64)))
    assert len(plans) == 1


def test_two_stores_in_one_process_stay_open_side_by_side(tmp_path, source, plans):
    data = tiny_recipe(tmp_path, source).data
    cold = replace(data, store="cold", channels=data.channels[:2])
    tasks = [unfinished(data, tmp_path / "all"), unfinished(cold, tmp_path / "some")]
    for start in (0, 64):
        for task in tasks:
            task(start, start + 64)
    assert sorted(plans) == sorted([data.store, cold.store])
    written = [zarr.open_group(str(task.partial), mode="r")["fields"] for task in tasks]
    np.testing.assert_array_equal(written[0][:128, :2], written[1][:128])


def test_a_copy_opens_anew(tmp_path, source, plans):
    task = unfinished(tiny_recipe(tmp_path, source).data, tmp_path / "partial")
    fields = zarr.open_group(str(tmp_path / "partial"), mode="r")["fields"]
    task(0, 64)
    written = fields[:64]
    for record in (tmp_path / "partial/fields/records").iterdir():
        record.unlink()
    copy = pickle.loads(pickle.dumps(task))
    copy(0, 64)
    np.testing.assert_array_equal(fields[:64], written)
    assert len(plans) == 2
