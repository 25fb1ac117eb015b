"""The memory of a preparation: the formula, what fits, and that tasks keep within it."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from data_modules.preparation.block_task import BlockWork
from data_modules.preparation.memory_budget import (
    MemoryModel,
    blocks,
    budget,
    plan_memory,
    report_memory,
)
from data_modules.preparation.plan import plan
from data_modules.preparation.statistics import TrainingDays
from data_modules.store.training_store import SHARD_STEPS, TrainingStore, shard_steps
from data_modules.store.writing import create_steps
from slams.benchmarks.wave_source import write_waves
from slams.config.memory import parse_memory, show_memory
from slams.config.schema import (
    DataConfig,
    ObservationsConfig,
    PrepareConfig,
    SourceConfig,
    SplitsConfig,
)
from slams.errors import UserError
from tests.synthetic import tiny_recipe

GB = 10**9
# Thirteen levels on 121 x 240 regridded to 48 x 96.
MODEL = MemoryModel(
    values=13 * 121 * 240,
    regridded=13 * 121 * 240,
    channels=13,
    points=48 * 96,
    steps=4000,
    file_steps=64,
    chunk_steps=8,
    chunk_bytes=4 * 8 * 13 * 121 * 240,
    variable_bytes=4 * 13 * 121 * 240,
    reach_steps=4,
    sums_bytes=128,
)


def test_a_task_takes_what_the_formula_says():
    step, point = 13 * 121 * 240, 13 * 48 * 96
    read = 16 * (4 * step + 3 * 4 * step) + 4 * 8 * step
    assert MODEL.task(16) == read + 16 * step + 12 * 64 * point
    # A task of the statistics may need more.
    assert replace(MODEL, sums_bytes=10**6).task(16) == 8 * (64 + 4) * point + 10**6 * point


def test_all_workers_work_where_they_fit_and_read_whole_files():
    found = budget(PrepareConfig(workers=3, memory="4 GB"), MODEL, base=GB // 2)
    assert (found.workers, found.read_steps) == (3, 64)


@pytest.mark.parametrize("memory", ["1 GB", "1.2 GB", "1.5 GB", "2 GB", "3 GB"])
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_what_is_expected_stays_below_the_bound(memory, workers):
    found = budget(PrepareConfig(workers=workers, memory=memory), MODEL, base=GB // 2)
    assert found.expected <= 0.85 * parse_memory("", memory) + 1
    assert 1 <= found.workers <= workers
    assert found.read_steps >= MODEL.chunk_steps


def test_less_is_read_at_a_time_before_fewer_work():
    tight = budget(PrepareConfig(workers=2, memory="1.3 GB"), MODEL, base=GB // 2)
    assert (tight.workers, tight.read_steps) == (2, 32)
    tighter = budget(PrepareConfig(workers=2, memory="0.86 GB"), MODEL, base=GB // 2)
    assert (tighter.workers, tighter.read_steps) == (1, 8)


def test_too_little_is_refused_with_an_amount_that_does():
    with pytest.raises(UserError, match=r"data\.prepare\.memory: 600 MB is too little") as refused:
        budget(PrepareConfig(memory="600 MB"), MODEL, base=GB // 2)
    amount = re.search(r"raise it to (.*)$", str(refused.value))[1]
    assert budget(PrepareConfig(memory=amount), MODEL, base=GB // 2).workers == 1


def test_a_process_has_its_memory_to_itself():
    threads = budget(PrepareConfig(workers=8, memory="1.3 GB"), MODEL, base=GB // 2)
    processes = budget(
        PrepareConfig(workers=8, memory="1.3 GB", scheduler="distributed"), MODEL, base=GB // 2
    )
    assert threads.workers < processes.workers == 8
    assert "each" in processes.text


def test_no_more_work_than_there_are_blocks():
    assert budget(PrepareConfig(workers=8), replace(MODEL, steps=300), base=GB // 2).workers == 2


@pytest.mark.parametrize("steps", [1, 255, 256, 257, 1000])
def test_blocks_cover_every_step_once_and_hold_whole_files(steps):
    found = blocks(steps)
    assert [s for a, b in found for s in range(a, b)] == list(range(steps))
    assert all(a % SHARD_STEPS == 0 for a, _ in found)


def test_files_hold_fewer_steps_of_a_large_grid():
    assert shard_steps(11 * 48 * 96) == 64
    assert shard_steps(13 * 121 * 240) == 64
    assert shard_steps(69 * 721 * 1440) == 1
    assert shard_steps(13 * 721 * 1440) == 2


def test_needs_are_those_of_source_and_recipe(tmp_path, tiny_source):
    data = tiny_recipe(tmp_path, tiny_source).data
    data.source.grid = "6x12"
    found = plan_memory(plan(data), data.harmonics, data.lags)
    assert (found.values, found.regridded, found.points) == (4 * 288, 4 * 288, 72)
    assert (found.channels, found.steps, found.file_steps) == (4, 110, 64)
    assert found.variable_bytes == 2 * 288 * 4
    # K = 1 coefficient; days and squares, and 4 sums over the pairs of each of 3 lags.
    assert found.reach_steps == 3
    assert found.sums_bytes == 8 * (1 + 2 + 4 * 3)
    data.source.gaps = data.channels[:1]
    gaps = plan_memory(plan(data), 20, data.lags)
    # A quarter of the channels sums the upper triangle of B B^T at each point.
    assert gaps.sums_bytes == round(8 * (41 + 41 * 42 / 2 / 4))


def test_a_task_keeps_to_its_memory(tmp_path: Path):
    """NumPy, Zarr and dask allocate at most what was planned for one block, and most of it."""
    write_waves(tmp_path / "waves.zarr", 200, (61, 120), [1000, 850, 500, 250])
    data = DataConfig(
        store=str(tmp_path / "store.zarr"),
        source=SourceConfig(path=str(tmp_path / "waves.zarr")),
        channels=[f"temperature@{level}" for level in (1000, 850, 500, 250)],
        splits=SplitsConfig(train=["1980-01-01", "1980-06-30"]),
        harmonics=0,
    )
    work = plan(data)
    need = plan_memory(work, data.harmonics, data.lags)
    import zarr

    group = zarr.create_group(str(tmp_path / "partial"))
    shape = (200, 4, 61, 120)
    create_steps(group, "fields", shape, ("time", "channel", "latitude", "longitude"))
    for read_steps in (64, 16):
        task = BlockWork(data, tmp_path / "partial", read_steps)
        task.open(work)
        tracemalloc.start()
        task(0, 200)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert 0.3 * need.task(read_steps) < peak < need.task(read_steps)
        for record in (tmp_path / "partial/fields/records").iterdir():
            record.unlink()
    days = TrainingDays(
        TrainingStore(tmp_path / "partial", work.channels, (0, 1, 2, 3), work.time, work.grid, {}),
        np.arange(200),
        data.harmonics,
        tuple(data.lags),
        (),
    )
    allowed = 8 * (64 + need.reach_steps) * 4 * 61 * 120 + need.sums
    climatology = np.zeros((1, 4, 61 * 120))
    for task in (days.moments, partial(days.anomalies, climatology)):
        tracemalloc.start()
        task(0, 200)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert 0.3 * allowed < peak < allowed


@pytest.mark.parametrize(
    ("text", "size"),
    [("2 GB", 2 * GB), ("800MB", 8 * 10**8), ("1.5 GiB", 3 * 2**29), (" 1 TB ", 10**12)],
)
def test_amounts_are_read(text, size):
    assert parse_memory("key", text) == size


@pytest.mark.parametrize("text", ["2", "GB", "two GB", "-2 GB", "0 GB", "2 KB", "2 gb", ""])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(UserError, match=r"key 'data\.prepare\.memory': found .*such as 2 GB"):
        parse_memory("data.prepare.memory", text)


def test_amounts_are_shown_for_a_reader():
    assert [show_memory(n) for n in (6.4e8, 1.3e9, 2.5e12)] == ["640 MB", "1.30 GB", "2.50 TB"]


def test_reports_of_a_large_archive_are_announced(tmp_path: Path) -> None:
    (tmp_path / "1981.csv.gz").write_bytes(bytes(1000_000))
    (tmp_path / "1982.csv").write_bytes(bytes(2000_000))
    observations = ObservationsConfig(source="store")
    assert report_memory(observations) == ""  # drawn from the fields
    source = observations.stations.source
    source.kind, source.path = "ghcn_daily", str(tmp_path / "*")
    expected = show_memory(1.5 * 100e6 + 10e6 + 2.6e6)
    found = report_memory(observations, int(100e6))
    assert found.endswith(f"2 files, are read after the fields: about {expected}")
    source.kind = "metar"  # read at once
    assert report_memory(observations) == ""
