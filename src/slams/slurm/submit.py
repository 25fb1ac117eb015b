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
from itertools import groupby
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
from slams.slurm.request import STAGES, Request
from slams.slurm.scripts import job_script
from slams.stages.places import run_request, stage_directory, stage_of
from slams.stages.preflight import check_prerequisites

__all__ = ["submit"]


@dataclass(frozen=True)
class _Job:
    """One job: its name, its command, the options of sbatch for its resources, and its array."""

    name: str
    words: tuple[str, ...]
    resources: list[str]
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
    _check(request)
    request, config, overrides = _resolve(request)
    if not dry_run and shutil.which("sbatch") is None:
        raise UserError(
            "sbatch is not on the PATH: submit from a login node of a SLURM cluster; --dry-run "
            "prints the scripts anywhere"
        )
    recipe = to_yaml(load(request.recipe))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:8]
    directory = (Path(config.runs) / config.experiment / "slurm").absolute()
    copy = directory / f"{Path(request.recipe).stem}-{digest}.yaml"
    jobs = (_sweep if request.sweep else _chain)(request, config, str(copy), overrides)
    origin = f"slams submit {shlex.join([request.recipe, *request.overrides])}"
    scripts = {
        job.name: job_script(
            f"{config.experiment}/{job.name}".replace("/", "-"),
            [sys.executable, "-m", "slams", *job.words],
            job.resources,
            log=str(directory / f"{job.name}-{'%A_%a' if job.array else '%j'}.log"),
            directory=str(Path.cwd()),
            array=job.array,
            origin=origin,
        )
        for job in jobs
    }
    if dry_run:
        for name, script in scripts.items():
            say(f"### {directory / name}.sbatch\n{script}")
        return
    if not jobs:
        say("everything has finished, nothing is submitted; resume=overwrite starts over")
        return
    directory.mkdir(parents=True, exist_ok=True)
    atomic.write_text(copy, recipe)
    before = ""
    for name, script in scripts.items():
        path = directory / f"{name}.sbatch"
        atomic.write_text(path, script)
        number = _sbatch(path, before)
        say(f"job {number}: {name}{f', after {before}' if before else ''}")
        before = number
    say(f"scripts and logs: {directory}")


def _resolve(request: Request) -> tuple[Request, Config, list[str]]:
    """Read the recipe with the keys that follow from the options.

    Returns:
        The request with the number of CPUs, the recipe, and the overrides of its jobs.
    """
    gpus = request.gpus_per_node
    ours = {"trainer.num_nodes": request.nodes, "trainer.accelerator": "gpu" if gpus else "cpu"}
    if gpus:
        ours["trainer.devices"] = gpus
    for key in (word.partition("=")[0].strip() for word in request.overrides):
        if key in ours:
            raise UserError(f"key {key!r} on the command line: --nodes and --gpus-per-node set it")
    overrides = [*request.overrides, *(f"{key}={value}" for key, value in ours.items())]
    config = load(request.recipe, overrides)
    cpus = request.cpus_per_task or max(config.trainer.threads, 1) + config.data.num_workers
    return replace(request, cpus_per_task=cpus), config, overrides


def _check(request: Request) -> None:
    """Refuse options that SLURM would refuse, or that would change what a batch script means."""
    for name in ("nodes", "gpus_per_node", "cpus_per_task", "at_once"):
        value, least = getattr(request, name), int(name == "nodes")
        if value < least:
            option = name.replace("_", "-")
            raise UserError(f"--{option}: found {value}, expected at least {least}")
    for option in request.sbatch:
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
    if request.time:
        parse_limit("--time", request.time)


def _chain(request: Request, config: Config, copy: str, overrides: list[str]) -> list[_Job]:
    """List the jobs of the stages that have not finished."""
    wanted = _stages(request.stages) or list(STAGES)
    if not request.stages and Path(config.data.store).exists():
        wanted.remove("prepare")
    jobs: list[_Job] = []
    for verb in (STAGES[name] for name in wanted):
        require(config, verb)
        run = stage_of(config, verb)
        if run and config.resume != "overwrite" and is_finished(stage_directory(config, run)):
            RunDirectory.check(run_request(config, run))
            say(f"{verb} has finished already, it is not submitted")
            continue
        if not jobs:
            check_prerequisites(config, verb)
        elif run:
            RunDirectory.check(run_request(config, run))
        words, resources = overrides, request.directives(config.trainer.devices)
        if verb == "prepare":  # one process with several threads
            words = list(request.overrides)
            resources = replace(request, nodes=1, gpus_per_node=0).directives(tasks=1)
        jobs.append(_Job(verb.replace(" ", "-"), (*verb.split(), copy, *words), resources))
    return jobs


def _stages(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in STAGES:
            raise UserError(f"--stages: found {name!r}; {nearest(name, tuple(STAGES))}")
    return [name for name in STAGES if name in names]


def _sweep(request: Request, config: Config, copy: str, overrides: list[str]) -> list[_Job]:
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
    words = ("ablate", copy, "--setting", "$SLURM_ARRAY_TASK_ID", *overrides, *named)
    array = _ranges(left) + (f"%{request.at_once}" if request.at_once else "")
    resources = request.directives(config.trainer.devices)
    return [_Job(f"ablate-{sweep.name}", words, resources, array)]


def _ranges(numbers: Sequence[int]) -> str:
    """Write `[0, 1, 2, 5]` as `0-2,5`."""
    parts = []
    # Numbers without a gap between them have the same difference to their positions.
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ",".join(parts)


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
