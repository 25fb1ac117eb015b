"""Where tasks run: the order of results, the extra that may be missing, processes, SLURM jobs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from data_modules import schedulers
from data_modules.schedulers import in_order, scheduler, slurm_cluster
from slams.errors import UserError
from slams.schema import PrepareConfig
from tests.data_modules.test_resuming import contents

ROOT = Path(__file__).parents[2]
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
            # One more has been drawn than is under way.
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
        pytest.raises(UserError, match=r"pip install 'slams\[cluster\]', or write data\.prepare"),
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
    # It stops taking work before its time is up.
    assert "--lifetime 5100s" in script


def prepare_in_a_process(tmp_path: Path, source: Path, scheduler_name: str, **environment: str):
    """Runs `slams prepare` on a recipe of the made-up run; gives what it printed."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"""
data:
  store: store.zarr
  source: {{path: {source}}}
  channels: [temperature@850, temperature@500, total_precipitation_24hr,
             outgoing_longwave_radiation]
  splits: {{train: [2001-01-01, 2001-03-11], validation: [2001-03-14, 2001-03-25],
           test: [2001-03-28, 2001-04-20], gap: 2}}
  harmonics: 1
  lags: [1, 2, 3]
  prepare: {{scheduler: {scheduler_name}, workers: 2, memory: 1500 MB}}
observations: {{use: []}}
"""
    )
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "slams", "prepare", "recipe.yaml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_processes_write_the_same_bytes_as_threads(tmp_path, tiny_source, tiny_prepared):
    pytest.importorskip("distributed")
    said = prepare_in_a_process(tmp_path, tiny_source, "distributed")
    assert "(distributed)" in said
    assert contents(tmp_path / "store.zarr") == contents(tiny_prepared)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["recipe.yaml", "store.zarr"]


@pytest.mark.slow
def test_slurm_jobs_write_the_same_bytes_as_threads(tmp_path, tiny_source, tiny_prepared):
    """Through dask-jobqueue and `sbatch`, with a stand-in for the queue."""
    pytest.importorskip("dask_jobqueue")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("sbatch", _SBATCH), ("scancel", _SCANCEL)):
        (tools / name).write_text(text.format(place=tools))
        (tools / name).chmod(0o755)
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    prepare_in_a_process(tmp_path, tiny_source, "slurm", PATH=path)
    assert (tools / "submitted").exists()
    assert (
        "dask worker" in (tools / "job.sh").read_text()
        or "distributed.cli" in (tools / "job.sh").read_text()
    )
    assert contents(tmp_path / "store.zarr") == contents(tiny_prepared)


def test_a_time_limit_in_days_is_read():
    assert schedulers._seconds("1-02:00:30") == 26 * 3600 + 30
