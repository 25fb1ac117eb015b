"""`slams bench prepare`: a source larger than memory, prepared uninterrupted and killed.

Every preparation is the command itself, in a separate process: its largest resident memory is
reported by the system when it has ended. The second store is prepared by a command that is
killed without warning (SIGKILL) when a share of its files is finished, and then repeated. Both
stores must be the same, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import yaml

from slams.benchmarks.preparation_recipe import PreparationBenchConfig
from slams.benchmarks.wave_source import write_waves
from slams.config.memory import parse_memory, show_memory
from slams.errors import UserError
from slams.runtime.atomic import write_text
from slams.runtime.output import make_output
from slams.runtime.ranks import say

__all__ = ["bench_preparation"]

_FIRST = date(1980, 1, 1)
# Seconds between two counts of the finished files.
_LOOK = 0.05


@dataclass(frozen=True)
class _Run:
    """Cost of one command.

    Attributes:
        seconds: Elapsed time.
        cpu: Processor time (s).
        memory: Largest resident memory (bytes).
        files: Files of fields that were finished when it ended.
        killed: Whether it was killed.
    """

    seconds: float
    cpu: float
    memory: int
    files: int
    killed: bool


def bench_preparation(config: PreparationBenchConfig, output: Path) -> None:
    """Make the source, prepare it twice, compare, and print and write the results.

    Args:
        config: Size of the source, memory, kills.
        output: Directory of source, stores, recipes and `preparation.json`.

    Raises:
        UserError: The output is not a directory, there is too little space, a preparation fails,
            or the two stores differ.
    """
    make_output(output)
    step = 4 * len(config.levels) * config.rows * config.columns
    steps = max(2, round(config.gigabytes * 1e9 / step))
    source = output / "source.zarr"
    _check_space(output, config)
    started = time.perf_counter()
    if not _is_made(source, steps, config):
        write_waves(
            source,
            steps,
            (config.rows, config.columns),
            config.levels,
            config.chunk_days,
            config.seed,
        )
        write_text(output / "source.json", _description(steps, config))
        seconds = time.perf_counter() - started
        say(f"source of {steps * step / 1e9:.2f} GB written ({seconds:.0f} s)")
    peace = _recipe(config, output, source, "peace", steps)
    killed = _recipe(config, output, source, "killed", steps)
    runs = {"peace": [_prepare(peace, output / "peace.zarr", None)]}
    files = runs["peace"][0].files
    stops = [files * (i + 1) // (config.kills + 1) for i in range(config.kills)]
    runs["killed"] = [_prepare(killed, output / "killed.zarr", stop) for stop in (*stops, None)]
    different = _differences(output / "peace.zarr", output / "killed.zarr")
    found = {
        "source_gigabytes": steps * step / 1e9,
        "source_on_disk": _size(source),
        "store_on_disk": _size(output / "peace.zarr"),
        "steps": steps,
        "memory_bound": parse_memory("memory", config.memory),
        "runs": {name: [vars(run) for run in these] for name, these in runs.items()},
        "fingerprint": _fingerprint(output / "peace.zarr"),
        "files_that_differ": different,
    }
    write_text(output / "preparation.json", json.dumps(found, indent=1))
    _report(config, runs, found)
    if not config.keep:
        for name in ("source.zarr", "peace.zarr", "killed.zarr"):
            shutil.rmtree(output / name)
        (output / "source.json").unlink()
    if different:
        raise UserError(
            f"the store of the killed preparation differs from the other in {', '.join(different)}"
        )


def _report(config: PreparationBenchConfig, runs: dict[str, list[_Run]], found: dict) -> None:
    volume = found["source_gigabytes"]
    say(f"{volume:.2f} GB, {found['steps']} days, memory {config.memory} ({config.scheduler})")
    say(f"{'':24}{'files':>8}{'seconds':>10}{'CPU s':>10}{'MB/s':>8}{'max RSS':>12}")
    for name, these in runs.items():
        before = 0
        for run in these:
            label = f"{name}, SIGKILL" if run.killed else f"{name}, to the end"
            share = (run.files - before) / these[-1].files
            rate = 1000 * volume * share / run.seconds
            before = run.files
            say(
                f"{label:24}{run.files:8d}{run.seconds:10.0f}{run.cpu:10.0f}{rate:8.0f}"
                f"{show_memory(run.memory):>12}"
            )
    largest = max(run.memory for these in runs.values() for run in these)
    within = "within" if largest <= found["memory_bound"] else "MORE THAN"
    same = "no file differs" if not found["files_that_differ"] else "FILES DIFFER"
    say(f"largest resident memory {show_memory(largest)}, {within} the bound of {config.memory}")
    say(f"fingerprint {found['fingerprint'][:16]}, killed and uninterrupted: {same}")


def _recipe(
    config: PreparationBenchConfig, output: Path, source: Path, name: str, steps: int
) -> Path:
    """Write the recipe of one preparation; four fifths of the days are for training."""
    days = [_FIRST, _FIRST + timedelta(days=max(1, steps * 4 // 5))]
    recipe = {
        "data": {
            "store": str(output / f"{name}.zarr"),
            "source": {"path": str(source), "grid": config.grid, "regrid": config.regrid},
            "channels": [f"temperature@{level}" for level in config.levels],
            "splits": {"train": [day.isoformat() for day in days]},
            "harmonics": 1 if steps < 700 else 3,
            "prepare": {
                "memory": config.memory,
                "scheduler": config.scheduler,
                "workers": config.workers,
            },
        },
        "observations": {"use": []},
        "report": {"level": config.levels[-1]},
    }
    path = output / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def _prepare(recipe: Path, store: Path, stop: int | None) -> _Run:
    """Prepare a store, from the beginning unless an earlier run was killed.

    Args:
        recipe: The recipe.
        store: Path of the store.
        stop: Number of files of fields after which it is killed; `None` to let it end.
    """
    partial = store.with_name(store.name + ".partial")
    if stop is None and not partial.exists() and store.exists():
        shutil.rmtree(store)
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "slams", "prepare", str(recipe)])
    killed = False
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        if stop is not None and not killed and _finished(partial) >= stop:
            process.send_signal(signal.SIGKILL)
            killed = True
        time.sleep(_LOOK)
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    usage = ended[2]
    if process.returncode != 0 and not killed:
        raise UserError(f"`slams prepare {recipe}` has failed, see above")
    # In units of 1024 bytes on Linux, of bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return _Run(
        seconds=time.perf_counter() - started,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss * unit,
        files=_finished(partial) if process.returncode else _files(store),
        killed=process.returncode != 0,
    )


def _finished(partial: Path) -> int:
    return sum(1 for _ in (partial / "fields/records").glob("[0-9]*.json"))


def _files(store: Path) -> int:
    return sum(1 for f in (store / "fields/c").rglob("*") if f.is_file())


def _differences(one: Path, other: Path) -> list[str]:
    """List the files in which two directories differ."""
    first, second = (
        {
            str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest()
            for f in root.rglob("*")
            if f.is_file()
        }
        for root in (one, other)
    )
    return sorted(name for name in first | second if first.get(name) != second.get(name))


def _fingerprint(store: Path) -> str:
    return json.loads((store / "zarr.json").read_text())["attributes"]["fingerprint"]


def _size(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def _description(steps: int, config: PreparationBenchConfig) -> str:
    keys = (steps, config.rows, config.columns, config.levels, config.chunk_days, config.seed)
    return json.dumps(keys)


def _is_made(source: Path, steps: int, config: PreparationBenchConfig) -> bool:
    """Return whether an earlier benchmark has left this source complete."""
    note = source.with_name("source.json")
    return source.exists() and note.exists() and note.read_text() == _description(steps, config)


def _check_space(output: Path, config: PreparationBenchConfig) -> None:
    """Refuse a benchmark for which the disk is too small, assuming no compression."""
    # Two stores, each no larger than the source where it is not on a coarser grid.
    needed, free = 1e9 * config.gigabytes, shutil.disk_usage(output).free
    if config.grid == "native":
        needed *= 3
    if free < needed and not (output / "source.json").exists():
        raise UserError(
            f"{output}: about {show_memory(needed)} are needed, {show_memory(free)} are free; "
            f"lower the key 'gigabytes' or choose another --output"
        )
