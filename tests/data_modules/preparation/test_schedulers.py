"""Schedulers: the order of results, the extra that may be missing, processes, SLURM jobs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from data_modules.preparation import schedulers
from data_modules.preparation.schedulers import in_order, scheduler, slurm_cluster
from slams.config.loading import load
from slams.config.schema import PrepareConfig
from slams.errors import UserError
from slams.stages.sources import prepare
from tests.data_modules.preparation.test_resuming import contents
from tests.synthetic import nature_run

ROOT = Path(__file__).parents[3]
# Runs the job at once in the background, as a queue without waiting would.
_SBATCH = """#!/bin/sh
cp "$1" {place}/job.sh
echo "$$" >> {place}/submitted
sh "$1" > {place}/job.log 2>&1 &
echo $! > {place}/pid
echo "Submitted batch job 4711"
"""
_SCANCEL = """#!/bin/sh
kill $(cat {place}/pid) 2> /dev/null
exit 0
"""


def test_results_come_in_order_and_few_are_under_way(tmp_path):
    running, most, lock = [0], [0], threading.Lock()

    def work(number: int) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02 if number % 3 == 0 else 0.001)
        with lock:
            running[0] -= 1
        return number

    begun = []

    def arguments():
        for number in range(20):
            begun.append(number)
            yield (number,)

    taken = []
    with scheduler(PrepareConfig(), 2, tmp_path) as pool:
        for result in in_order(pool, work, arguments(), 3):
            taken.append(result)
            # One more argument has been drawn than calls are in progress.
            assert len(begun) <= result + 1 + 3
    assert taken == list(range(20))
    assert most[0] == 2


def test_a_failure_ends_it_and_nothing_more_is_begun(tmp_path):
    done = []

    def work(number: int) -> None:
        if number == 2:
            raise UserError("broken")
        done.append(number)

    with pytest.raises(UserError, match="broken"), scheduler(PrepareConfig(), 1, tmp_path) as pool:
        list(in_order(pool, work, ((n,) for n in range(50)), 2))
    assert len(done) <= 4


@pytest.mark.parametrize("name", ["distributed", "slurm"])
def test_a_missing_extra_is_one_sentence(name, tmp_path, monkeypatch):
    for module in ("distributed", "dask_jobqueue"):
        monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(
            UserError,
            match=r"pip install -e '\.\[cluster\]' in the clone of slams, or set data\.prepare",
        ),
        scheduler(PrepareConfig(scheduler=name), 1, tmp_path),
    ):
        pass


def test_the_jobs_are_those_of_the_recipe(tmp_path):
    pytest.importorskip("dask_jobqueue")
    keys = PrepareConfig(
        scheduler="slurm",
        memory="6 GB",
        partition="short",
        account="climate",
        walltime="01:30:00",
        prologue=["module load python"],
    )
    cluster = slurm_cluster(keys, tmp_path)
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    for line in (
        "#SBATCH -p short",
        "#SBATCH -A climate",
        "#SBATCH -t 01:30:00",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --mem=6G",
        "module load python",
    ):
        assert line in script
    # It stops accepting work before its time limit.
    assert "--lifetime 5100s" in script


@pytest.fixture(scope="module")
def by_threads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare a run of two blocks with threads; return the directory of recipe and store."""
    root = tmp_path_factory.mktemp("threads")
    run = nature_run(days=300, rows=6, columns=12)
    run.to_zarr(root / "run.zarr", zarr_format=3, consolidated=False)
    (root / "recipe.yaml").write_text(
        f"""
data:
  store: store.zarr
  source: {{path: {root / "run.zarr"}}}
  channels: [temperature@850, temperature@500, total_precipitation_24hr]
  splits: {{train: [2001-01-01, 2001-09-30]}}
  harmonics: 0
  lags: [1, 2, 3]
  prepare: {{workers: 2, memory: 1500 MB}}
observations: {{use: []}}
"""
    )
    prepare(load(root / "recipe.yaml", [f"data.store={root / 'store.zarr'}"]))
    return root


def prepare_in_a_process(place: Path, by_threads: Path, *words: str, **environment: str) -> str:
    """Run `slams prepare` on the same recipe; return what it printed."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "slams", "prepare", str(by_threads / "recipe.yaml"), *words],
        cwd=place,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=900,  # a busy machine takes minutes to start its processes
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_processes_write_the_same_bytes_as_threads(tmp_path, by_threads):
    pytest.importorskip("distributed")
    said = prepare_in_a_process(tmp_path, by_threads, "data.prepare.scheduler=distributed")
    assert "2 workers (distributed)" in said
    assert contents(tmp_path / "store.zarr") == contents(by_threads / "store.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.zarr"]


@pytest.mark.slow
def test_slurm_jobs_write_the_same_bytes_as_threads(tmp_path, by_threads):
    """Through dask-jobqueue and `sbatch`, with a stand-in for the queue."""
    pytest.importorskip("dask_jobqueue")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("sbatch", _SBATCH), ("scancel", _SCANCEL)):
        (tools / name).write_text(text.format(place=tools))
        (tools / name).chmod(0o755)
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    words = ("data.prepare.scheduler=slurm", "data.prepare.workers=1")
    prepare_in_a_process(tmp_path, by_threads, *words, PATH=path)
    assert (tools / "submitted").exists()
    assert "#SBATCH" in (tools / "job.sh").read_text()
    assert contents(tmp_path / "store.zarr") == contents(by_threads / "store.zarr")


def test_a_time_limit_in_days_is_read():
    assert schedulers._seconds("1-02:00:30") == 26 * 3600 + 30
