"""`slams bench data`: how fast random windows are read from a training store.

Every reader (`window_readers.READERS`) has its turn in each repetition, so that other load on the
machine affects all of them; ratios are taken within a repetition, and their smallest, median and
largest value reported. Writes `samples.csv` (one row per measurement), `ratios.csv`, `plan.csv`
and `data.png`, and prints the tables.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader, default_convert

from slams.benchmarks.figures import draw_stream
from slams.benchmarks.page_cache import evict, resident_share
from slams.benchmarks.recipes import StreamBenchConfig, parse_grid
from slams.benchmarks.stream_stores import Layouts, make_layouts
from slams.benchmarks.stream_tables import plan_table, ratio_table, stream_pages
from slams.benchmarks.window_readers import READERS, WindowReader
from slams.errors import UserError
from slams.runtime.output import make_output, publish
from slams.runtime.ranks import say

__all__ = ["bench_data", "sample_table"]

# Share of a store that may still be in the page cache for it to count as cold.
_COLD_SHARE = 0.05
# Batches per measurement, and in the second trial that finds how many there can be.
_FEWEST, _MOST, _TRIAL = 2, 400, 20


class _Turn:
    """Measurement of one reader with some workers, warm or cold, repeatable."""

    def __init__(
        self, kind: str, layouts: Layouts, config: StreamBenchConfig, workers: int, cold: bool
    ) -> None:
        self.reader = WindowReader(kind, layouts, config.window, fresh=cold)
        self.config, self.workers, self.cold = config, workers, cold
        # Positions of the windows of each batch, filled before each reading.
        self._batches: list[list[int]] = []
        self._count = 0
        self._loader = DataLoader(
            self.reader,
            batch_sampler=self._batches,
            num_workers=workers,
            collate_fn=default_convert,  # a batch is a tensor already
            multiprocessing_context="forkserver" if workers else None,
            persistent_workers=workers > 0,
        )
        self._draw = np.random.default_rng(config.seed)

    def measure(self) -> dict[str, float]:
        """Read batches for about as long as the recipe states; return one row of the table."""
        config = self.config
        if not self._count:  # starts the workers, opens files, and finds how long a batch takes
            batches = max(_FEWEST, 2 * self.workers)
            seconds = self._read(batches)[0]
            wanted = int(config.seconds / max(seconds / batches, 1e-6))
            batches = min(max(wanted, _FEWEST), _TRIAL)
            seconds = self._read(batches)[0]
            self._count = min(max(int(config.seconds * batches / seconds), _FEWEST), _MOST)
        resident = None
        if self.cold:
            files = self.reader.layouts.files(self.reader.path)
            evict(files)
            resident = resident_share(files)
        seconds, cpu, samples = self._read(self._count)
        size = samples * config.window * 4 * np.prod(self.reader.layouts.shape[1:])
        return {
            "samples_per_second": samples / seconds,
            "mb_per_second": size / seconds / 1e6,
            # Of this process only: the time of workers is not known.
            "cpu_ms_per_sample": np.nan if self.workers else 1e3 * cpu / samples,
            "resident_before": np.nan if resident is None else resident,
            "samples": samples,
            "bytes": self.reader.layouts.size(self.reader.path),
        }

    def _read(self, batches: int) -> tuple[float, float, int]:
        """Read random batches; return seconds, seconds of the processor, and windows read."""
        size, window = self.config.batch_size, self.config.window
        if self.cold:
            # No day twice: its second read would be warm.
            places = self._draw.permutation(len(self.reader) // window) * window
            batches = min(batches, len(places) // size)
            picked = places[: batches * size]
        else:
            picked = self._draw.integers(0, len(self.reader), batches * size)
        self._batches[:] = picked.reshape(-1, size).tolist()
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in self._loader:
            pass
        return time.perf_counter() - begun, time.process_time() - cpu, batches * size


def sample_table(config: StreamBenchConfig, directory: Path) -> pd.DataFrame:
    """Measure every reader on every grid.

    Args:
        config: The recipe.
        directory: Directory of the stores; they are removed unless the recipe keeps them.

    Returns:
        Columns grid, page_cache, workers, reader, repetition, samples_per_second, mb_per_second,
        cpu_ms_per_sample, resident_before, samples, bytes (of the layout that is read).
    """
    # A worker that is forked from a process with everything imported starts at once.
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["slams.benchmarks.window_readers", "xarray", "dask.array"]
    )
    states = ("warm", "cold") if config.cold else ("warm",)
    rows = []
    for grid in config.grids:
        place = directory / grid
        place.mkdir(parents=True, exist_ok=True)
        try:
            say(f"{grid}: making stores of {config.days} days")
            layouts = make_layouts(place, config.days, parse_grid(grid), config.seed)
            for state, workers in itertools.product(states, config.workers):
                rows += _take_turns(grid, layouts, config, workers, state)
        finally:
            if not config.keep_stores:
                shutil.rmtree(place, ignore_errors=True)
    return pd.DataFrame(rows)


def _take_turns(
    grid: str, layouts: Layouts, config: StreamBenchConfig, workers: int, state: str
) -> list[dict[str, object]]:
    turns = {kind: _Turn(kind, layouts, config, workers, state == "cold") for kind in READERS}
    rows: list[dict[str, object]] = []
    order = np.random.default_rng(config.seed)
    for repetition in range(config.repetitions):
        begun = time.perf_counter()
        # Drawn again: a disk is not as fast after one reader as after another.
        for kind in order.permutation(list(turns)).tolist():
            cell = {"grid": grid, "page_cache": state, "workers": workers, "reader": kind}
            rows.append(cell | {"repetition": repetition} | turns[kind].measure())
        say(
            f"{grid}, {state}, {workers} workers: repetition {repetition + 1} of "
            f"{config.repetitions} took {time.perf_counter() - begun:.0f} s"
        )
    for turn in turns.values():
        turn.reader.close()
    del turn, turns
    gc.collect()  # mapped files stay in memory, and would be warm in the next cell
    return rows


def bench_data(config: StreamBenchConfig, output: Path) -> None:
    """Measure, print the tables, and write them with a figure.

    Args:
        config: The recipe.
        output: Directory, made where it is missing.

    Raises:
        UserError: The output is not a directory, or the disk has no room for the stores.
    """
    make_output(output)
    # Uncompressed, and twice compressed, each no larger than that.
    needed = max(12 * config.days * int(np.prod(parse_grid(g))) for g in config.grids)
    free = shutil.disk_usage(output).free
    if needed > free:
        raise UserError(
            f"--output: {output} has {free / 1e9:.1f} GB free, expected {needed / 1e9:.1f} GB for "
            f"the stores; use fewer days, or another disk"
        )
    samples = sample_table(config, output / "stores")
    if not config.keep_stores:
        shutil.rmtree(output / "stores", ignore_errors=True)
    ratios, plan = ratio_table(samples), plan_table(samples, config.window)
    draw_stream(samples, output / "data.png")
    tables = {"samples": samples, "ratios": ratios, "plan": plan}
    publish(output, tables, *stream_pages(samples, ratios, plan, config))
    _warn_of_warm_files(samples)


def _warn_of_warm_files(samples: pd.DataFrame) -> None:
    cold = samples[samples["page_cache"] == "cold"]
    if cold.empty:
        return
    if cold["resident_before"].isna().all():
        print("cold: this file system does not report what is in the page cache")
    warm = cold[cold["resident_before"] > _COLD_SHARE]
    if len(warm):
        print(
            f"cold: in {len(warm)} of {len(cold)} measurements the system kept more than "
            f"{_COLD_SHARE:.0%} of the files in memory ({warm['resident_before'].max():.0%} at "
            f"most): they are not fully cold"
        )
