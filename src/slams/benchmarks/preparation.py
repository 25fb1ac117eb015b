"""`slams bench prepare`: a source larger than memory, prepared uninterrupted and killed.

Every preparation is the command itself, in a separate process: its largest resident memory is
reported by the system when it has ended. The second store is prepared by a command that is
killed without warning (SIGKILL) when a share of its files is finished, and then repeated. Both
stores must be the same, byte for byte.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml

from data_modules.store.training_store import TrainingStore
from slams.benchmarks.recipes import PreparationBenchConfig
from slams.benchmarks.wave_source import FIRST_DAY, write_waves
from slams.config.memory import parse_memory, show_memory
from slams.errors import UserError
from slams.runtime.atomic import write_text
from slams.runtime.console import make_table, print_tables
from slams.runtime.output import make_output
from slams.runtime.ranks import say

__all__ = ["bench_preparation"]

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
    # An earlier benchmark may have left this source complete.
    made_with = (config.rows, config.columns, config.levels, config.chunk_days, config.seed)
    description, note = json.dumps((steps, *made_with)), output / "source.json"
    if not (source.exists() and note.exists() and note.read_text() == description):
        started, shape = time.perf_counter(), (config.rows, config.columns)
        write_waves(source, steps, shape, config.levels, config.chunk_days, config.seed)
        write_text(note, description)
        seconds = time.perf_counter() - started
        say(f"source of {steps * step / 1e9:.2f} GB written ({seconds:.0f} s)")
    stores = {name: output / f"{name}.zarr" for name in ("peace", "killed")}
    peace, killed = (_recipe(config, store, source, steps) for store in stores.values())
    runs = {"peace": [_prepare(peace, stores["peace"], None)]}
    files = runs["peace"][0].files
    stops = [files * (i + 1) // (config.kills + 1) for i in range(config.kills)]
    runs["killed"] = [_prepare(killed, stores["killed"], stop) for stop in (*stops, None)]
    different = _differences(*stores.values())
    found = {
        "source_gigabytes": steps * step / 1e9,
        "source_on_disk": _size(source),
        "store_on_disk": _size(stores["peace"]),
        "steps": steps,
        "memory_bound": parse_memory("memory", config.memory),
        "runs": {name: [vars(run) for run in these] for name, these in runs.items()},
        "fingerprint": TrainingStore.open(stores["peace"]).fingerprint,
        "files_that_differ": different,
    }
    write_text(output / "preparation.json", json.dumps(found, indent=1))
    _report(config, runs, found)
    if not config.keep:
        for path in (source, *stores.values()):
            shutil.rmtree(path)
        note.unlink()
    if different:
        raise UserError(
            f"the store of the killed preparation differs from the other in {', '.join(different)}"
        )


def _report(config: PreparationBenchConfig, runs: dict[str, list[_Run]], found: dict) -> None:
    volume = found["source_gigabytes"]
    rows = []
    for name, these in runs.items():
        for before, run in zip([0, *(run.files for run in these)], these, strict=False):
            label = f"{name}, SIGKILL" if run.killed else f"{name}, to the end"
            rate = 1000 * volume * (run.files - before) / these[-1].files / run.seconds
            numbers = (f"{run.seconds:.0f}", f"{run.cpu:.0f}", f"{rate:.0f}")
            rows.append((label, run.files, *numbers, show_memory(run.memory)))
    print_tables(
        make_table(
            f"{volume:.2f} GB, {found['steps']} days, memory {config.memory} ({config.scheduler})",
            ("", "files", "seconds", "CPU s", "MB/s", "max RSS"),
            rows,
        )
    )
    largest = max(run.memory for these in runs.values() for run in these)
    within = "within" if largest <= found["memory_bound"] else "MORE THAN"
    same = "no file differs" if not found["files_that_differ"] else "FILES DIFFER"
    say(f"largest resident memory {show_memory(largest)}, {within} the bound of {config.memory}")
    say(f"fingerprint {found['fingerprint'][:16]}, killed and uninterrupted: {same}")


def _recipe(config: PreparationBenchConfig, store: Path, source: Path, steps: int) -> Path:
    """Write the recipe of one preparation; four fifths of the days are for training."""
    days = [FIRST_DAY, FIRST_DAY + timedelta(days=max(1, steps * 4 // 5))]
    recipe = {
        "data": {
            "store": str(store),
            "source": {"path": str(source), "grid": config.grid, "regrid": config.regrid},
            "channels": [f"temperature@{level}" for level in config.levels],
            "splits": {"train": [day.isoformat() for day in days]},
            "harmonics": 1 if steps < 700 else 3,
            "prepare": {key: getattr(config, key) for key in ("memory", "scheduler", "workers")},
        },
        "observations": {"use": []},
        "report": {"level": config.levels[-1]},
    }
    path = store.with_suffix(".yaml")
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
        files=_finished(partial) if process.returncode else len(_files(store / "fields/c")),
        killed=process.returncode != 0,
    )


def _finished(partial: Path) -> int:
    return sum(1 for _ in (partial / "fields/records").glob("[0-9]*.json"))


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in _files(directory))


def _differences(one: Path, other: Path) -> list[str]:
    """List the files in which two directories differ."""
    names = {str(path.relative_to(root)) for root in (one, other) for path in _files(root)}
    _, different, missing = filecmp.cmpfiles(one, other, names, shallow=False)
    return sorted(different + missing)


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
