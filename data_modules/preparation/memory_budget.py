"""Memory of a preparation: the needs of a task, the number of tasks, and the steps per read.

A task converts a block of `BLOCK_STEPS` steps to files of `s` steps, reading `r` steps at a time.
With `C` channels, `P` points of the store, `P'` of the source, it needs at most (bytes)

    read     4 r C P' + 3 r V + chunk     steps stacked; one variable being decoded; a source chunk
    regrid   16 C P'                      one step in float64, and its intermediate result
    write    3 x 4 s C P                  the file's values, its compressed chunks, and their join

where `V` is the size of one step of the largest variable. A task of the statistics needs, later,

    days     2 x 4 (s + h) C P            a file's values and the `h` steps before, as read
    sums     m C P                        those of the block

with sums of `m` bytes per channel and point (`statistics`). In addition to the tasks there are
the program itself, the sums of the whole period and those of tasks that wait for an earlier one.
`r` is the largest number of steps with which all workers fit into the memory, but at least one
chunk of the source; if they do not fit even then, the number of threads is reduced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.preparation.plan import Plan
from data_modules.sources.canonical.form import level_dimension
from data_modules.store.training_store import shard_steps
from slams.calendar.steps import steps_per_day
from slams.config.memory import parse_memory, show_memory
from slams.config.schema import ObservationsConfig, PrepareConfig
from slams.errors import UserError
from slams.plugins.station_sources import STATION_SOURCES
from slams.runtime.memory import resident_memory

__all__ = [
    "BLOCK_STEPS",
    "Budget",
    "MemoryModel",
    "blocks",
    "budget",
    "plan_memory",
    "report_memory",
]

# Steps per block: fixed, because statistics are summed block by block and their last digits
# depend on its size. A multiple of the steps of any file.
BLOCK_STEPS = 256
# Fraction of the bound used in planning: allocators keep some of the memory that was freed.
_PLANNED = 0.85


def blocks(steps: int) -> list[tuple[int, int]]:
    """Divide a time axis into blocks `[start, stop)`."""
    return [(i, min(i + BLOCK_STEPS, steps)) for i in range(0, steps, BLOCK_STEPS)]


@dataclass(frozen=True)
class MemoryModel:
    """Sizes that determine the memory of a preparation.

    Attributes:
        values: Numbers read per step, from all sources.
        regridded: Numbers per step of the largest source that is regridded.
        channels: Channels of the store.
        points: Grid points of the store.
        steps: Steps of the store.
        file_steps: Steps per file of the store.
        chunk_steps: Steps per chunk of the source.
        chunk_bytes: Decoded size of the source's largest chunk (bytes).
        variable_bytes: Size of one step of the source's largest variable (bytes).
        reach_steps: Steps within the longest lag.
        sums_bytes: Size of a block's sums per channel and point (bytes); 0 without statistics.
    """

    values: int
    regridded: int
    channels: int
    points: int
    steps: int
    file_steps: int
    chunk_steps: int
    chunk_bytes: int
    variable_bytes: int
    reach_steps: int
    sums_bytes: int

    def task(self, read_steps: int) -> int:
        """Return the memory of the largest task, reading `read_steps` steps at a time (bytes)."""
        read = read_steps * (4 * self.values + 3 * self.variable_bytes) + self.chunk_bytes
        regrid = 16 * self.regridded
        write = 12 * min(self.file_steps, self.steps) * self.channels * self.points
        days = 8 * (min(self.file_steps, self.steps) + self.reach_steps)
        statistics = days * self.channels * self.points + self.sums if self.sums else 0
        return max(read + regrid + write, statistics)

    @property
    def sums(self) -> int:
        """Return the memory of the sums over one block, or over all blocks (bytes)."""
        return self.sums_bytes * self.channels * self.points


@dataclass(frozen=True)
class Budget:
    """Memory plan of a preparation.

    Attributes:
        workers: Number of concurrent tasks.
        read_steps: Steps read from the source at a time.
        expected: Expected peak per process (bytes).
        text: Composition of the expected memory, for the log.
    """

    workers: int
    read_steps: int
    expected: int
    text: str


def plan_memory(work: Plan, harmonics: int, lags: Sequence[int]) -> MemoryModel:
    """Return the sizes that determine the memory of a preparation.

    Args:
        work: The plan.
        harmonics: Annual harmonics of the climatology.
        lags: Lags (steps) for which persistence is fitted.
    """
    grid = work.grid
    values, regridded, chunk_steps, chunk_bytes, variable_bytes = 0, 0, 1, 0, 0
    for part in work.parts:
        sizes = part.dataset.sizes
        source_points = sizes["latitude"] * sizes["longitude"]
        values += len(part.channels) * source_points
        if not part.regridder.identity:
            regridded = max(regridded, len(part.channels) * source_points)
        names = dict.fromkeys(c.variable for c in part.channels)
        for variable in (part.dataset[name] for name in names if name in part.dataset):
            steps, size = _chunk(variable)
            chunk_steps, chunk_bytes = max(chunk_steps, steps), max(chunk_bytes, size)
            step_bytes = variable.sizes.get(level_dimension(variable), 1) * source_points
            step_bytes *= max(variable.dtype.itemsize, 4)
            variable_bytes = max(variable_bytes, step_bytes)
    channels, points = len(work.channels), grid.shape[0] * grid.shape[1]
    sums = reach = 0
    if work.train is not None:
        size = (2 * harmonics + 1) * steps_per_day(work.step)
        time = work.time[work.train.contains(work.time)]
        reach = int((time < time[0] + work.step * max(lags, default=0)).sum()) if len(time) else 0
        # The climatology, and the sums of either pass; `B B^T` only of channels with gaps.
        products = len(work.gaps) / max(channels, 1) * size * (size + 1) / 2
        sums = round(8 * (size + max(products, 2 + 4 * len(lags))))
    return MemoryModel(
        values,
        regridded,
        channels,
        points,
        len(work.time),
        shard_steps(channels * points),
        chunk_steps,
        chunk_bytes,
        variable_bytes,
        reach,
        sums,
    )


def budget(keys: PrepareConfig, model: MemoryModel, base: int | None = None) -> Budget:
    """Fit a preparation into the memory of the recipe.

    Args:
        keys: The recipe's section `data.prepare`.
        model: Sizes that determine the memory.
        base: Memory of the program itself (bytes); by default that of this process.

    Raises:
        UserError: Not even one task fits; the message states the memory that it needs.
    """
    bound = parse_memory("data.prepare.memory", keys.memory)
    base = resident_memory() if base is None else base
    alone = keys.scheduler != "threads"  # each worker is a process with its own memory
    wanted = keys.workers or (1 if keys.scheduler == "slurm" else os.cpu_count() or 1)
    wanted = min(wanted, -(-model.steps // BLOCK_STEPS))
    room = _PLANNED * bound - base

    def together(workers: int, read_steps: int) -> int:
        if alone:
            return model.task(read_steps)
        # Includes the sums of the whole period, and those of tasks that wait for an earlier one.
        return workers * (model.task(read_steps) + model.sums) + model.sums

    smallest = min(model.chunk_steps, model.file_steps)
    read_steps = model.file_steps
    while read_steps > smallest and together(wanted, read_steps) > room:
        read_steps = max(smallest, read_steps // 2)
    workers = wanted
    if not alone:
        while workers > 1 and together(workers, read_steps) > room:
            workers -= 1
    if together(workers, read_steps) > room:
        least = (base + together(1, read_steps)) / _PLANNED
        raise UserError(
            f"data.prepare.memory: {keys.memory} is too little, one task needs about "
            f"{show_memory(least)} ({show_memory(base)} for the program, "
            f"{show_memory(model.task(read_steps))} for {read_steps} steps read and "
            f"{model.file_steps} written at a time); raise it to {show_memory(1.02 * least)}"
        )
    expected = base + together(workers, read_steps)
    text = (
        f"{workers} {'worker' if workers == 1 else 'workers'} ({keys.scheduler}), {read_steps} "
        f"steps read and {model.file_steps} written at a time: about {show_memory(expected)} of "
        f"{keys.memory}{' each' if alone else ''} ({show_memory(base)} the program, "
        f"{show_memory(model.task(read_steps))} per task)"
    )
    return Budget(workers, read_steps, int(expected), text)


def report_memory(observations: ObservationsConfig, base: int | None = None) -> str:
    """Say what the reports of a large station archive will hold, once the fields are written.

    Measured on GHCN-Daily (docs/notes/cost.md): 10 bytes for each compressed one, or 1.3 for each
    of a text, and half of the program's size that the tasks of the fields leave behind.

    Args:
        observations: The recipe's section `observations`.
        base: Memory of the program itself (bytes); by default that of this process.

    Returns:
        A line; empty where no archive is read, or one that is read at once.
    """
    source = observations.stations.source
    if "stations" not in observations.use or observations.source != "store" or not source.kind:
        return ""
    if STATION_SOURCES.get(source.kind, "observations.stations.source.kind").read_parts is None:
        return ""
    files = [Path(name) for name in glob(source.path)]
    held = sum((10 if f.suffix == ".gz" else 1.3) * f.stat().st_size for f in files)
    base = resident_memory() if base is None else base
    return (
        f"reports of stations, {len(files)} {'file' if len(files) == 1 else 'files'}, are read "
        f"after the fields: about {show_memory(1.5 * base + held)}"
    )


def _chunk(variable: Any) -> tuple[int, int]:
    """Return the steps and the decoded size (bytes) of a chunk of a variable in its file."""
    lazy = [max(variable.chunksizes.get(d, (n,))) for d, n in variable.sizes.items()]
    steps = lazy[variable.dims.index("time")]
    stored = variable.encoding.get("preferred_chunks") or variable.encoding.get("chunksizes")
    shape = list(stored.values()) if isinstance(stored, dict) else list(stored or lazy)
    size = max(int(np.prod(shape)), int(np.prod(lazy)))
    return steps, size * max(variable.dtype.itemsize, 4)
