"""On a real SLURM cluster of two nodes: stopped, crashed, and the same in the end.

`make test-slurm` runs these; they want root, SLURM's programs and network namespaces. What can be
told without a cluster is tested in tests/runtime/test_slurm_job.py and tests/slurm/.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from slams.config.loading import to_yaml
from slams.config.schema import Config
from tests.stages.commands import study
from tests.stages.test_pipeline import compare

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif("SLAMS_TEST_SLURM" not in os.environ, reason="make test-slurm runs it"),
]

CLUSTER = Path(__file__).with_name("cluster.sh")
ROOT = Path(__file__).resolve().parents[2]
# Twelve validated spans of ten epochs, four steps an epoch on two ranks.
STEPS = 480


@pytest.fixture(scope="module")
def cluster() -> Iterator[Callable[..., str]]:
    """Return a function that calls `cluster.sh`; the cluster is up meanwhile."""

    def call(*words: str) -> str:
        done = subprocess.run(
            [str(CLUSTER), *words],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
                "OMP_NUM_THREADS": "1",
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("down")
    call("up")
    yield call
    call("down")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_source: Path) -> tuple[Path, Config]:
    """Return a tiny recipe, prepared, whose trainings take half a minute each."""
    root = tmp_path_factory.mktemp("cluster")
    config = study(root, tiny_source)
    config.tracking.enabled = True
    config.assimilation.modality_study = 0
    config.vae.optimizer.steps = config.score.optimizer.steps = STEPS
    config.trainer.validate_every_epochs = 10
    config.trainer.checkpoint_every_steps = 30
    config.trainer.log_every_seconds = 2.0
    path = root / "recipe.yaml"
    path.write_text(to_yaml(config))
    slams("prepare", path)
    return path, config


def slams(verb: str, recipe: Path, *words: str) -> str:
    """Run a verb on this machine, outside of the cluster; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "slams", *verb.split(), str(recipe), *words],
        capture_output=True,
        text=True,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("SLURM")},
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def submit(cluster: Callable[..., str], recipe: Path, *words: str) -> dict[str, str]:
    """Submit a recipe; return the number of each job."""
    said = cluster("run", sys.executable, "-m", "slams", "submit", str(recipe), *words)
    jobs = [line.split() for line in said.splitlines() if line.startswith("job ")]
    return {words[2].rstrip(","): words[1].rstrip(":") for words in jobs}


def until(what: str, ready: Callable[[], bool], seconds: float = 900) -> None:
    """Wait for something, with the name of it in the failure."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} has not come"
        time.sleep(0.3)


def state(cluster: Callable[..., str], job: str) -> str:
    return cluster(
        "run", "squeue", "--noheader", "--states=all", f"--jobs={job}", "-o", "%T"
    ).strip()


def restarts(cluster: Callable[..., str], job: str) -> int:
    shown = cluster("run", "scontrol", "show", "job", "--oneliner", job)
    return int(shown.partition("Restarts=")[2].split()[0])


def steps(run: Path) -> int:
    """Return the last step of `metrics.csv`, whose last line may be half written."""
    try:
        lines = (run / "metrics.csv").read_text().splitlines()
        return int(lines[-2].partition(",")[0])
    except (OSError, IndexError, ValueError):
        return 0


def one_space(text: str) -> str:
    return " ".join(text.split())


def done(cluster: Callable[..., str], job: str) -> bool:
    found = state(cluster, job)
    assert found in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "COMPLETED"), found
    return found == "COMPLETED"


def test_a_signal_and_a_lost_node_change_nothing(
    cluster: Callable[..., str], recipe: tuple[Path, Config], tmp_path: Path
) -> None:
    path, config = recipe
    runs = Path(config.runs) / "tiny"
    jobs = submit(cluster, path, "--nodes=2")
    assert list(jobs) == ["train-vae", "train-score", "assimilate"]

    # The VAE is told to stop, most likely in the middle of an epoch.
    vae = jobs["train-vae"]
    until("the middle of the VAE's training", lambda: steps(runs / "vae") > 150)
    cluster("run", "scancel", "--signal=USR1", vae)
    until("the requeue", lambda: restarts(cluster, vae) == 1)  # of the very job
    until("the VAE", lambda: done(cluster, vae))
    said = (runs / f"slurm/train-vae-{vae}.log").read_text()
    assert "fit: world size 2 on 2 hosts (slams1, slams2)" in said
    assert "stopped by SIGUSR1 after step" in said
    assert "continuing from" in said

    # The score training loses a node, with everything that runs on it.
    score = jobs["train-score"]
    until("the middle of the score's training", lambda: steps(runs / "score") > 150)
    cluster("crash", "slams2")
    until("the requeue", lambda: restarts(cluster, score) == 1)
    # What SLURM has still to tell the lost node, to end the job, would end the attempt that comes
    # back: the node takes no job before it has heard it.
    cluster("run", "scontrol", "update", "nodename=slams2", "state=drain", "reason=lost")
    cluster("boot", "slams2")
    until("the node", lambda: "slams2 drained" in cluster("run", "sinfo", "-hNo", "%N %T"))
    until("its news", lambda: "Agent queue size: 0" in one_space(cluster("run", "sdiag")))
    cluster("run", "scontrol", "update", "nodename=slams2", "state=resume")
    until("the score", lambda: done(cluster, score))
    said = (runs / f"slurm/train-score-{score}.log").read_text()
    assert "lost the connection to another rank" in said
    assert "DUE TO NODE FAILURE" in said
    assert "continuing from" in said
    until("the assimilation", lambda: done(cluster, jobs["assimilate"]))

    # Two ranks on one host, with nothing in their way, train the same networks.
    other = tmp_path / "runs"
    words = (f"runs={other}", "trainer.devices=2", "tracking.enabled=false")
    slams("train vae", path, *words)
    # A latent store is keyed by the run of its VAE: that of the cluster is used for the score.
    for stage in ("vae", "score"):
        record = json.loads((runs / stage / "run.json").read_text())
        assert record["status"] == "finished"
        assert record["attempts"] >= 2
    same_training(runs / "vae", other / "tiny" / "vae")
    slams("train score", path, *words)
    same_training(runs / "score", other / "tiny" / "score")

    # One process evaluates as two hosts do.
    alone = tmp_path / "alone"
    for stage in ("vae", "score"):
        shutil.copytree(runs / stage, alone / "tiny" / stage)
    slams("assimilate", path, f"runs={alone}", "tracking.enabled=false")
    compare(runs / "assimilation", alone / "tiny" / "assimilation")

    # One run of the tracking server a stage, each finished.
    with sqlite3.connect(Path(config.runs) / "mlflow.db") as store:
        found = store.execute("select name, status from runs order by name").fetchall()
    expected = ["assimilation", "score", "vae"]
    assert found == [(f"tiny/{stage}", "FINISHED") for stage in expected]


def same_training(found: Path, expected: Path) -> None:
    """Compare the loss curves of two trainings, and their last weights, bit for bit."""
    assert (found / "metrics.csv").read_text() == (expected / "metrics.csv").read_text()
    assert pd.read_csv(found / "metrics.csv")["step"].iloc[-1] == STEPS
    one, other = (torch.load(r / "checkpoints" / "last.ckpt") for r in (found, expected))
    for part in ("state_dict", "training_state_dict"):
        assert all(torch.equal(one[part][k], other[part][k]) for k in one[part])


def test_a_cancelled_job_stays_cancelled(
    cluster: Callable[..., str], recipe: tuple[Path, Config]
) -> None:
    path, config = recipe
    jobs = submit(cluster, path, "--nodes=1", "--stages=vae", "experiment=cancelled")
    (job,) = jobs.values()
    run = Path(config.runs) / "cancelled" / "vae"
    until("some training", lambda: steps(run) > 20)
    cluster("run", "scancel", job)
    until("the end", lambda: state(cluster, job) == "CANCELLED")
    time.sleep(8)  # a requeue would show by now
    assert state(cluster, job) == "CANCELLED"
    assert json.loads((run / "run.json").read_text())["status"] == "killed"
    assert (run / "checkpoints" / "last.ckpt").exists()


def test_a_sweep_as_an_array(cluster: Callable[..., str], recipe: tuple[Path, Config]) -> None:
    """Twelve settings run side by side; one fails, and submitting again runs only that one."""
    path, config = recipe
    sweep = path.with_name("sweep.yaml")
    counts = range(10, 43, 3)
    text = "\n".join(
        [
            f"extends: {path.name}",
            "experiment: swept",
            "pretrained_experiment: tiny",
            "assimilation: {members: 2, keep_cases: 0}",
            "ablation:",
            "  list:",
            *(f"    - {{name: s{n}, observations.stations.count: {n}}}" for n in counts),
            "    - {name: listed, observations.stations.file: FILE}",
        ]
    )
    stations = path.with_name("stations.csv")
    sweep.write_text(text.replace("FILE", str(stations)))
    (job,) = submit(cluster, sweep, "--sweep").values()
    until("the array", lambda: set(state(cluster, job).split()) <= {"COMPLETED", "FAILED"})
    assert sorted(state(cluster, job).split()) == [*["COMPLETED"] * len(counts), "FAILED"]
    reason = Path(config.runs) / "swept/sweep/failures/listed.txt"
    assert "stations.csv: found no such file" in reason.read_text()

    stations.write_text("id,latitude,longitude\na,10,20\nb,-30,100\nc,50,300\n")
    (job,) = submit(cluster, sweep, "--sweep").values()
    until("the last setting", lambda: done(cluster, job))
    assert len(state(cluster, job).split()) == 1
    assert not reason.exists()

    table = slams("compare", sweep)
    assert all(name in table for name in ["listed", *(f"s{n}" for n in counts)])
    assert list((Path(config.runs) / "swept/sweep").rglob("*.png"))
