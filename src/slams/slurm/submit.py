"""Submission of a recipe to SLURM: one job per stage, each after the one it builds on.

Scripts and logs are in `runs/<experiment>/slurm/`, with a copy of the recipe: editing the recipe
while jobs are waiting, or while one is requeued, does not affect them. Overrides are written into
the scripts as they were typed.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slams.config.checks import require
from slams.config.loading import load, to_yaml
from slams.config.schema import Config
from slams.config.time_limits import parse_limit
from slams.errors import UserError, nearest
from slams.runs.directory import RunDirectory
from slams.runs.record import is_finished
from slams.runtime import atomic
from slams.runtime.ranks import say
from slams.slurm.scripts import Resources, job_script
from slams.stages.places import run_request, stage_directory
from slams.stages.preflight import check_prerequisites

__all__ = ["STAGES", "Request", "submit"]

# Stage on the command line -> verb.
STAGES = {
    "prepare": "prepare",
    "vae": "train vae",
    "score": "train score",
    "assimilate": "assimilate",
}
_OURS = ("trainer.num_nodes", "trainer.accelerator")


@dataclass(frozen=True)
class Request:
    """Request for a submission, from the command line.

    Attributes:
        recipe: The recipe (YAML).
        overrides: Overrides `key=value`.
        nodes: Nodes of each job.
        gpus: GPUs per node, one rank each; 0 trains on the CPU with `trainer.devices` ranks per
            node.
        cpus: CPUs per rank; 0 for one, plus one for each worker of the DataLoader.
        time: Time limit of each job, in SLURM's format; "" for the partition's.
        partition: Partition; "" for the default one.
        account: Account; "" for the user's own.
        stages: Stages separated by commas; "" for all that have not finished.
        sweep: Whether to run the settings of the recipe's sweep as a job array instead of stages.
        at_once: Largest number of settings of a sweep that run at once; 0 for no limit.
        extra: More options of sbatch.
    """

    recipe: str
    overrides: Sequence[str] = ()
    nodes: int = 1
    gpus: int = 0
    cpus: int = 0
    time: str = ""
    partition: str = ""
    account: str = ""
    stages: str = ""
    sweep: bool = False
    at_once: int = 0
    extra: Sequence[str] = ()


@dataclass(frozen=True)
class _Job:
    """One job: its name, its command, and its array."""

    name: str
    words: tuple[str, ...]
    resources: Resources
    array: str = ""


def submit(request: Request, dry_run: bool = False) -> None:
    """Write the batch scripts of a recipe and submit them.

    Args:
        request: The request.
        dry_run: Whether only to print the scripts, without writing or submitting.

    Raises:
        UserError: Recipe, resources or stages are refused, what the first stage builds on is
            missing, or SLURM is not installed here.
    """
    config, overrides, resources = _resolve(request)
    if not dry_run and shutil.which("sbatch") is None:
        raise UserError(
            "sbatch is not on the PATH: submit from a login node of a SLURM cluster; --dry-run "
            "prints the scripts anywhere"
        )
    recipe = to_yaml(load(request.recipe))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:8]
    directory = (Path(config.runs) / config.experiment / "slurm").absolute()
    copy = directory / f"{Path(request.recipe).stem}-{digest}.yaml"
    if request.sweep:
        jobs = _sweep(request, config, copy, overrides, resources)
    else:
        jobs = _chain(request, config, copy, overrides, resources)
    origin = f"slams submit {shlex.join([request.recipe, *request.overrides])}"
    scripts = [
        job_script(
            f"{config.experiment}/{job.name}".replace("/", "-"),
            [sys.executable, "-m", "slams", *job.words],
            job.resources,
            log=str(directory / f"{job.name}-{'%A_%a' if job.array else '%j'}.log"),
            directory=str(Path.cwd()),
            array=job.array,
            origin=origin,
        )
        for job in jobs
    ]
    if dry_run:
        for job, script in zip(jobs, scripts, strict=True):
            say(f"### {directory / job.name}.sbatch\n{script}")
        return
    if not jobs:
        say("everything has finished, nothing is submitted; resume=overwrite starts over")
        return
    directory.mkdir(parents=True, exist_ok=True)
    atomic.write_text(copy, recipe)
    before = ""
    for job, script in zip(jobs, scripts, strict=True):
        path = directory / f"{job.name}.sbatch"
        atomic.write_text(path, script)
        number = _sbatch(path, before)
        say(f"job {number}: {job.name}{f', after {before}' if before else ''}")
        before = number
    say(f"scripts and logs: {directory}")


def _resolve(request: Request) -> tuple[Config, list[str], Resources]:
    """Read the recipe with the keys that follow from the resources."""
    for option, value in {"--nodes": request.nodes, "--cpus-per-task": request.cpus}.items():
        if value < (option == "--nodes"):
            raise UserError(f"{option}: found {value}, expected at least 1")
    if request.gpus < 0 or request.at_once < 0:
        raise UserError("--gpus-per-node and --at-once: expected 0 or more")
    keys = [word.partition("=")[0].strip() for word in request.overrides]
    ours = (*_OURS, "trainer.devices") if request.gpus else _OURS
    for key in keys:
        if key in ours:
            raise UserError(f"key {key!r} on the command line: --nodes and --gpus-per-node set it")
    _check_words(request)
    seconds = parse_limit("--time", request.time) if request.time else 0
    overrides = [*request.overrides, f"trainer.num_nodes={request.nodes}"]
    overrides.append(f"trainer.accelerator={'gpu' if request.gpus else 'cpu'}")
    if request.gpus:
        overrides.append(f"trainer.devices={request.gpus}")
    config = load(request.recipe, overrides)
    cpus = request.cpus or max(config.trainer.threads, 1) + config.data.num_workers
    resources = Resources(
        request.nodes,
        config.trainer.devices,
        request.gpus,
        cpus,
        seconds,
        request.time,
        request.partition,
        request.account,
        tuple(request.extra),
    )
    return config, overrides, resources


def _check_words(request: Request) -> None:
    """Refuse values that would become another option, or another line, of a batch script."""
    for option in request.extra:
        if not option.startswith("-") or not option.isprintable():
            raise UserError(f"--sbatch: found {option!r}, expected an option such as --qos=long")
    for option in ("time", "partition", "account"):
        value = getattr(request, option)
        if not value.isprintable() or value.startswith("-") or " " in value:
            raise UserError(f"--{option}: found {value!r}, expected one word")
    for word in request.overrides:
        if not word.isprintable():
            raise UserError(
                f"override {word!r}: expected no line breaks or other control characters in what "
                f"becomes part of a batch script; write it into the recipe"
            )


def _chain(
    request: Request, config: Config, copy: Path, overrides: list[str], resources: Resources
) -> list[_Job]:
    """List the jobs of the stages that have not finished."""
    wanted = _stages(request.stages) or list(STAGES)
    given = bool(request.stages)
    if not given and Path(config.data.store).exists():
        wanted.remove("prepare")
    jobs: list[_Job] = []
    for name in wanted:
        verb = STAGES[name]
        require(config, verb)
        run = _run_of(config, name)
        if run and config.resume != "overwrite" and is_finished(stage_directory(config, run)):
            RunDirectory.check(run_request(config, run))
            say(f"{verb} has finished already, it is not submitted")
            continue
        if not jobs:
            check_prerequisites(config, verb)
        elif run:
            RunDirectory.check(run_request(config, run))
        words = (*verb.split(), str(copy), *overrides)
        if name == "prepare":  # one process with several threads
            own = replace(resources, nodes=1, tasks=1, gpus=0)
            words = (*verb.split(), str(copy), *request.overrides)
        else:
            own = resources
        jobs.append(_Job(verb.replace(" ", "-"), words, own))
    return jobs


def _run_of(config: Config, name: str) -> str:
    """Return the name of a stage's run directory; empty for a stage without one."""
    score = "score_pixel" if config.score.space == "pixel" else "score"
    return {"vae": "vae", "score": score, "assimilate": "assimilation"}.get(name, "")


def _stages(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in STAGES:
            raise UserError(f"--stages: found {name!r}; {nearest(name, tuple(STAGES))}")
    return [name for name in STAGES if name in names]


def _sweep(
    request: Request, config: Config, copy: Path, overrides: list[str], resources: Resources
) -> list[_Job]:
    """Return the job array of a sweep's settings that have not finished."""
    if request.stages:
        raise UserError("--stages: a sweep has its own, key 'ablation.stages'; use only one")
    from slams.sweeps import expand
    from slams.sweeps.status import has_finished

    sweep = expand(request.recipe, overrides)
    for setting in sweep.settings:
        require(setting.config, "assimilate")
    left = [s.number for s in sweep.settings if not has_finished(s)]
    say(f"sweep {sweep.name}: {len(left)} of {len(sweep.settings)} settings to run")
    if not left:
        return []
    # The copy of the recipe has another name, and a sweep is named after its recipe.
    named = [] if config.ablation.name else [f"ablation.name={sweep.name}"]
    words = ("ablate", str(copy), "--setting", "$SLURM_ARRAY_TASK_ID", *overrides, *named)
    array = _ranges(left) + (f"%{request.at_once}" if request.at_once else "")
    return [_Job(f"ablate-{sweep.name}", words, resources, array)]


def _ranges(numbers: Sequence[int]) -> str:
    """Write `[0, 1, 2, 5]` as `0-2,5`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _sbatch(path: Path, after: str) -> str:
    """Submit a script; return the number of the job."""
    words = ["sbatch", "--parsable"]
    if after:  # otherwise a job that depends on a failed one waits for ever
        words += [f"--dependency=afterok:{after}", "--kill-on-invalid-dep=yes"]
    done = subprocess.run([*words, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        answer = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no answer"]
        raise UserError(f"sbatch refuses {path}: {answer[-1]}")
    return done.stdout.strip().partition(";")[0]
