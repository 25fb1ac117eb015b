"""Scripts of `slams submit`: what they ask for, what they run, and how they are chained."""

from __future__ import annotations

import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from slams.cli import main
from slams.slurm.scripts import BODY, signal_lead
from slams.slurm.submit import _ranges

ROOT = Path(__file__).parents[2]
DEMO = str(ROOT / "experiments" / "demo.yaml")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an `sbatch` on the PATH that numbers jobs; return the file of its arguments."""
    tools, calls = tmp_path / "tools", tmp_path / "calls"
    tools.mkdir()
    script = tools / "sbatch"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\necho "$(($(wc -l < {calls}) + 40));cluster"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return calls


def directives(text: str) -> dict[str, str]:
    """Read the options of a script as sbatch does."""
    lines = [line.removeprefix("#SBATCH ") for line in text.splitlines() if "#SBATCH" in line]
    found = {}
    for line in lines:
        (word,) = shlex.split(line)
        name, _, value = word.partition("=")
        found[name] = value
    return found


def command(path: Path, *arguments: str, **variables: str) -> list[str]:
    """Return the words that a script runs, as its shell sees them."""
    head = path.read_text().partition(BODY)[0]
    show = f"{head}\nprintf '%s\\0' \"${{command[@]}}\""
    words = ["bash", "-c", show, str(path), *arguments]
    done = subprocess.run(words, env=variables, capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def test_the_chain(sbatch: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--nodes", "2", "--gpus-per-node", "4", "--time", "1-12:00:00", "--partition", "gpu"]
    assert main.main(["submit", DEMO, *words, "--account=me", "--sbatch=--qos=long"]) == 0
    names = ["prepare", "train-vae", "train-score", "assimilate"]
    folder = here / "runs/demo/slurm"
    lines = sbatch.read_text().splitlines()
    for number, (name, line) in enumerate(zip(names, lines, strict=True)):
        after = f" --dependency=afterok:{40 + number} --kill-on-invalid-dep=yes" if number else ""
        assert line == f"--parsable{after} {folder}/{name}.sbatch"
    assert "job 43: train-score, after 42" in capsys.readouterr().out
    vae, prepare = (folder / f"{n}.sbatch" for n in ("train-vae", "prepare"))
    asked = directives(vae.read_text())
    assert asked["--nodes"] == "2"
    assert asked["--ntasks-per-node"] == asked["--gpus-per-node"] == "4"
    assert asked["--cpus-per-task"] == "1"
    assert (asked["--time"], asked["--signal"]) == ("1-12:00:00", "USR1@600")
    assert (asked["--partition"], asked["--account"], asked["--qos"]) == ("gpu", "me", "long")
    assert (asked["--output"], asked["--chdir"]) == (f"{folder}/train-vae-%j.log", str(here))
    assert {"--requeue", "--open-mode"} <= set(asked)
    run = command(vae)
    assert run[1:5] == ["-m", "slams", "train", "vae"]
    assert run[6:] == ["trainer.num_nodes=2", "trainer.accelerator=gpu", "trainer.devices=4"]
    # Preparation is one process without a GPU.
    asked = directives(prepare.read_text())
    assert "--gpus-per-node" not in asked
    assert (asked["--nodes"], asked["--ntasks-per-node"]) == ("1", "1")


def test_overrides_and_recipe_reach_the_program_letter_by_letter(sbatch: Path, here: Path) -> None:
    words = ['tracking.uri=it\'s $HOME; "rm" `x` *', "data.store=a b/c.zarr", "seed=7"]
    assert main.main(["submit", DEMO, words[0], "--nodes=2", *words[1:]]) == 0
    run = command(here / "runs/demo/slurm/train-score.sbatch")
    assert run[6:9] == words
    # The recipe is a copy: an edit while the job waits changes nothing for it.
    assert Path(run[5]).parent == here / "runs/demo/slurm"
    from slams.config.loading import load

    assert load(run[5]) == load(DEMO)


def test_options_are_quoted(sbatch: Path, here: Path) -> None:
    assert main.main(["submit", DEMO, "--account=a;b#c", "--partition=$(x)"]) == 0
    asked = directives((here / "runs/demo/slurm/train-vae.sbatch").read_text())
    assert (asked["--account"], asked["--partition"]) == ("a;b#c", "$(x)")


def test_a_line_break_in_a_path_never_becomes_a_line(sbatch: Path, here: Path, capsys) -> None:
    recipe = here / "a\ntouch x\n.yaml"
    recipe.write_text(f"extends: {DEMO}\n")
    assert main.main(["submit", str(recipe)]) == 2
    assert "expected no line breaks" in capsys.readouterr().err
    assert not sbatch.exists()


def test_a_dry_run_needs_no_slurm_and_writes_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(here))
    assert main.main(["submit", DEMO, "--nodes", "8", "--gpus-per-node", "4", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("#SBATCH --gpus-per-node=4") == 3
    assert printed.count("srun --kill-on-bad-exit=1") == 4
    assert list(here.iterdir()) == []
    assert main.main(["submit", DEMO]) == 2
    assert "sbatch is not on the PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--time", "1h"], "--time: found '1h'"),
        (["--time", "0"], "expected more than zero"),
        (["--nodes", "0"], "--nodes: found 0, expected at least 1"),
        (["--at-once=-1"], "--at-once: found -1, expected at least 0"),
        (["--nodes", "two"], "invalid int value: 'two'"),
        (["--stages", "vea"], "did you mean 'vae'?"),
        (["trainer.num_nodes=3"], "--nodes and --gpus-per-node set it"),
        (["--gpus-per-node=2", "trainer.devices=3"], "--nodes and --gpus-per-node set it"),
        (["--sbatch=qos"], "expected an option such as --qos=long"),
        (["--stages", "score"], "run `slams prepare`"),
        (["--tmie", "5"], "did you mean '--time'?"),
        (["--sweep"], "found no settings"),
        (["--partition", "gpu\nrm -r x"], r"--partition: found 'gpu\nrm -r x', expected one word"),
        (["--account", "me --wrap=x"], "--account: found 'me --wrap=x', expected one word"),
        (["--account=-x"], "--account: found '-x', expected one word"),
        (["--time", "1:00:00\n"], r"--time: found '1:00:00\n', expected one word"),
        (["--sbatch=--qos=long\nrm"], "expected an option such as --qos=long"),
        (["tracking.uri=a\nrm -r x"], r"override 'tracking.uri=a\nrm -r x'"),
        (["tracking.uri=a\u2028b"], "expected no line breaks"),
    ],
)
def test_refusals(sbatch: Path, here: Path, capsys, words: list[str], sentence: str) -> None:
    assert main.main(["submit", DEMO, *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not sbatch.exists()
    assert not (here / "runs").exists()


def test_sbatch_may_refuse(sbatch: Path, here: Path, capsys) -> None:
    tool = here / "tools/sbatch"
    tool.write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n"
    )
    assert main.main(["submit", DEMO, "--partition=gpu"]) == 2
    assert "prepare.sbatch: sbatch: error: invalid partition specified" in capsys.readouterr().err


def test_a_sweep_is_a_job_array(sbatch: Path, here: Path) -> None:
    recipe = here / "counts.yaml"
    recipe.write_text(
        f"extends: {DEMO}\n"
        "ablation: {grid: {observations.stations.count: [50, 100, 200, 300, 400, 500]}}\n"
    )
    assert main.main(["submit", str(recipe), "--sweep", "--at-once=3", "seed=2"]) == 0
    script = here / "runs/demo/slurm/ablate-counts.sbatch"
    asked = directives(script.read_text())
    assert asked["--array"] == "0-5%3"
    assert asked["--output"].endswith("ablate-counts-%A_%a.log")
    run = command(script, SLURM_ARRAY_TASK_ID="5")
    assert run[3] == "ablate"
    assert run[5:8] == ["--setting", "5", "seed=2"]
    assert run[-1] == "ablation.name=counts"


def test_numbers_of_an_array() -> None:
    assert _ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert _ranges([3]) == "3"


def test_the_signal_leaves_time_to_save() -> None:
    assert signal_lead(0) == 300
    assert [signal_lead(s) for s in (60, 3600, 86400)] == [30, 360, 600]


# Scripts of `experiments/slurm/`: verb, and the options of the command in their comment.
SCRIPTS = {
    "prepare": ("prepare", "--nodes=1 --ntasks=1"),
    "train-vae": ("train vae", "--nodes=2 --ntasks-per-node=4 --gpus-per-node=4"),
    "train-score": ("train score", "--nodes=2 --ntasks-per-node=4 --gpus-per-node=4"),
    "assimilate": ("assimilate", "--nodes=2 --ntasks-per-node=4 --gpus-per-node=4"),
    "ablate": ("ablate", "--array=0-11%4 --nodes=1 --ntasks-per-node=1 --gpus-per-node=1"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_in_the_repository_share_the_body_and_run_their_verb(name: str) -> None:
    folder = ROOT / "experiments" / "slurm"
    assert {p.stem for p in folder.glob("*.sbatch")} == set(SCRIPTS)
    path = folder / f"{name}.sbatch"
    text = path.read_text()
    head, body, rest = text.partition(BODY)
    assert (body, rest) == (BODY, "")
    verb, resources = SCRIPTS[name]
    assert f"#   sbatch {resources} --time=12:00:00 \\\n" in head
    assert f"experiments/slurm/{name}.sbatch RECIPE.yaml [key=value ...]" in head
    assert directives(text) == {
        "--job-name": f"slams-{name}",
        "--signal": f"USR1@{signal_lead(0)}",
        "--output": f"{name}-{'%A_%a' if name == 'ablate' else '%j'}.log",
        "--open-mode": "append",
        "--requeue": "",
    }
    expected = ["slams", *verb.split(), "a recipe.yaml", "seed=1"]
    if name == "ablate":
        expected += ["--setting", "7"]
    if name != "prepare":
        expected += ["trainer.num_nodes=2", "trainer.devices=4"]
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "4", "SLURM_ARRAY_TASK_ID": "7"}
    assert command(path, "a recipe.yaml", "seed=1", **job) == expected
    if name != "prepare":
        assert command(path, SLURM_JOB_NUM_NODES="1")[-1] == "trainer.devices=1"
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [(0, 0, False), (75, 0, False), (2, 0, False), (138, 0, True), (138, 10, False)],
)
def test_the_body(tmp_path: Path, status: int, restarts: int, requeued: bool) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {
        "srun": f'echo "srun $*"; exit {status}',
        "scontrol": 'echo "scontrol $*"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", f"command=(slams 'a b')\n{BODY}"],
        env={
            "PATH": f"{tools}:/usr/bin:/bin",
            "SLURM_JOB_ID": "9",
            "SLURM_RESTART_COUNT": str(restarts),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert "srun --kill-on-bad-exit=1 --wait=0 slams a b" in done.stdout
    assert ("scontrol requeue 9" in done.stdout) == requeued
