"""`slams bench data`: how fast random windows are read from a training store.

Every reader (`window_readers.READERS`) has its turn in each repetition, so that other load on the
machine affects all of them; ratios are taken within a repetition, and their smallest, median and
largest value reported. Writes `samples.csv` (one row per measurement), `ratios.csv`, `plan.csv`
and `data.png`, and prints the tables.
"""

from __future__ import annotations

import gc
import multiprocessing
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table
from torch.utils.data import DataLoader, Sampler

from data_modules.stream.samplers import BlockShuffleSampler
from slams.benchmarks.page_cache import evict, resident_share
from slams.benchmarks.shuffle_quality import Randomness, measure
from slams.benchmarks.stream_figure import draw_stream
from slams.benchmarks.stream_plan import plan_table
from slams.benchmarks.stream_recipe import StreamBenchConfig, parse_grid
from slams.benchmarks.stream_stores import Layouts, make_layouts
from slams.benchmarks.window_readers import READERS, WindowReader
from slams.errors import UserError
from slams.runtime.console import print_tables
from slams.runtime.output import make_output

__all__ = ["RATIOS", "bench_data", "ratio_table", "sample_table"]

# Readers that are compared, and the smallest ratio aimed at.
RATIOS = (
    ("store", "xarray+dask", 5.0),
    ("store", "xarray", None),
    ("store", "variables", None),
    ("cache", "memmap", 0.9),
    ("cache", "pread", 1.0),
    ("store", "memmap", None),
)
# Share of a store that may still be in the page cache for it to count as cold.
_COLD_SHARE = 0.05
_FEWEST, _MOST = 2, 400


class _Batches(Sampler[list[int]]):
    """Sampler that returns the batches it was last given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Turn:
    """Measurement of one reader with some workers, warm or cold, repeatable."""

    def __init__(
        self, kind: str, layouts: Layouts, config: StreamBenchConfig, workers: int, cold: bool
    ) -> None:
        self.reader = WindowReader(kind, layouts, config.window, fresh=cold)
        self.config, self.workers, self.cold = config, workers, cold
        self._sampler = _Batches()
        self._count = 0
        options = {}
        if workers:
            options = {"multiprocessing_context": "forkserver", "persistent_workers": True}
        self._loader = DataLoader(
            self.reader,
            batch_sampler=self._sampler,
            num_workers=workers,
            collate_fn=_as_it_is,
            **options,
        )
        self._draw = np.random.default_rng(config.seed)

    def measure(self) -> dict[str, float]:
        """Read batches for about as long as the recipe states; return one row of the table."""
        config = self.config
        if not self._count:  # starts the workers, opens files, and finds how long a batch takes
            seconds = self._read(max(_FEWEST, 2 * self.workers))[0]
            batches = max(_FEWEST, 2 * self.workers)
            wanted = int(config.seconds / max(seconds / batches, 1e-6))
            seconds = self._read(min(max(wanted, _FEWEST), 20))[0]
            batches = min(max(wanted, _FEWEST), 20)
            self._count = min(max(int(config.seconds * batches / seconds), _FEWEST), _MOST)
        resident = np.nan
        if self.cold:
            files = self.reader.layouts.files(self.reader.path)
            evict(files)
            share = resident_share(files)
            resident = np.nan if share is None else share
        seconds, cpu, samples = self._read(self._count)
        size = samples * config.window * 4 * np.prod(self.reader.layouts.shape[1:])
        return {
            "samples_per_second": samples / seconds,
            "mb_per_second": size / seconds / 1e6,
            # Of this process only: the time of workers is not known.
            "cpu_ms_per_sample": np.nan if self.workers else 1e3 * cpu / samples,
            "resident_before": resident,
            "samples": samples,
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
        self._sampler.batches = picked.reshape(-1, size).tolist()
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in self._loader:
            pass
        return time.perf_counter() - begun, time.process_time() - cpu, batches * size


def _as_it_is(batch: object) -> object:
    return batch


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
    rows = []
    for grid in config.grids:
        place = directory / grid
        place.mkdir(parents=True, exist_ok=True)
        try:
            shape = parse_grid(grid)
            print(f"{grid}: making stores of {config.days} days", flush=True)
            layouts = make_layouts(place, config.days, shape, config.seed)
            for cold in (False, True) if config.cold else (False,):
                for workers in config.workers:
                    rows += _take_turns(grid, layouts, config, workers, cold)
        finally:
            if not config.keep_stores:
                shutil.rmtree(place, ignore_errors=True)
    return pd.DataFrame(rows)


def _take_turns(
    grid: str, layouts: Layouts, config: StreamBenchConfig, workers: int, cold: bool
) -> list[dict[str, object]]:
    state = "cold" if cold else "warm"
    turns = {kind: _Turn(kind, layouts, config, workers, cold) for kind in READERS}
    rows: list[dict[str, object]] = []
    order = np.random.default_rng(config.seed)
    for repetition in range(config.repetitions):
        begun = time.perf_counter()
        # Drawn again: a disk is not as fast after one reader as after another.
        for kind in order.permutation(list(turns)).tolist():
            turn = turns[kind]
            row = {"grid": grid, "page_cache": state, "workers": workers, "reader": kind}
            found = {**row, "repetition": repetition, **turn.measure()}
            rows.append({**found, "bytes": layouts.size(turn.reader.path)})
        seconds = time.perf_counter() - begun
        print(
            f"{grid}, {state}, {workers} workers: repetition {repetition + 1} of "
            f"{config.repetitions} took {seconds:.0f} s",
            flush=True,
        )
    for turn in turns.values():
        turn.reader.close()
    del turn, turns
    gc.collect()  # mapped files stay in memory, and would be warm in the next cell
    return rows


def ratio_table(samples: pd.DataFrame) -> pd.DataFrame:
    """Compare readers within each repetition.

    Args:
        samples: Result of `sample_table`.

    Returns:
        Columns grid, page_cache, workers, reader, against, smallest, median, largest (ratios of
        samples per second), cpu (ratio of the median times of the processor, 1 worker less), aim.
    """
    rows = []
    keys = ["grid", "page_cache", "workers"]
    for cell, part in samples.groupby(keys, sort=False):
        speed = part.pivot(index="repetition", columns="reader", values="samples_per_second")
        cpu = part.groupby("reader")["cpu_ms_per_sample"].median()
        for reader, against, aim in RATIOS:
            ratio = speed[reader] / speed[against]
            rows.append(
                {
                    **dict(zip(keys, cell, strict=True)),
                    "reader": reader,
                    "against": against,
                    "smallest": ratio.min(),
                    "median": ratio.median(),
                    "largest": ratio.max(),
                    "cpu": cpu[against] / cpu[reader],
                    "aim": aim,
                }
            )
    return pd.DataFrame(rows)


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
    for name, table in (("samples", samples), ("ratios", ratios), ("plan", plan)):
        table.to_csv(output / f"{name}.csv", index=False, float_format="%.5g")
    draw_stream(samples, output / "data.png")
    print_tables(
        _samples_page(samples, config),
        _ratios_page(ratios),
        _plan_page(plan),
        _randomness_page(),
    )
    _warn_of_warm_files(samples)
    print(f"the tables and the figure are in {output}")


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


def _samples_page(samples: pd.DataFrame, config: StreamBenchConfig) -> Table:
    page = Table(
        title=f"random windows of {config.window} days, batches of {config.batch_size}",
        caption="samples/s: median (smallest to largest) of the repetitions; processor time of "
        "the reading process",
    )
    for name in ("grid", "page cache", "workers", "reader"):
        page.add_column(name)
    for name in ("samples/s", "MB/s", "ms CPU per sample"):
        page.add_column(name, justify="right")
    keys = ["grid", "page_cache", "workers", "reader"]
    for (grid, state, workers, reader), part in samples.groupby(keys, sort=False):
        speed = part["samples_per_second"]
        cpu = part["cpu_ms_per_sample"].median()
        page.add_row(
            str(grid),
            str(state),
            str(workers),
            READERS[str(reader)],
            f"{speed.median():.0f} ({speed.min():.0f} to {speed.max():.0f})",
            f"{part['mb_per_second'].median():.0f}",
            "" if np.isnan(cpu) else f"{cpu:.2f}",
        )
    return page


def _ratios_page(ratios: pd.DataFrame) -> Table:
    page = Table(
        title="ratios of samples/s within a repetition",
        caption="CPU: ratio of the processor times per sample, which other programs affect less",
    )
    for name in ("grid", "page cache", "workers", "ratio"):
        page.add_column(name)
    for name in ("median", "smallest", "largest", "CPU", "aim"):
        page.add_column(name, justify="right")
    for row in ratios.itertuples():
        page.add_row(
            row.grid,
            row.page_cache,
            str(row.workers),
            f"{row.reader} / {row.against}",
            f"{row.median:.2f}",
            f"{row.smallest:.2f}",
            f"{row.largest:.2f}",
            "" if np.isnan(row.cpu) else f"{row.cpu:.2f}",
            "" if row.aim is None or np.isnan(row.aim) else f"{row.aim:g}",
        )
    return page


def _plan_page(plan: pd.DataFrame) -> Table:
    page = Table(
        title="721 x 1440 in the same layout, by calculation",
        caption="samples/s: MB/s as measured on the largest grid here, over the bytes of a window",
    )
    page.add_column("what")
    page.add_column("value", justify="right")
    for row in plan.itertuples():
        page.add_row(row.what, f"{row.value:,.4g} {row.unit}")
    return page


def _randomness_page(days: int = 3650, steps: int = 64, batch: int = 8) -> Table:
    """Measure the order of an epoch for ten years of days in files of 64, three epochs each."""
    page = Table(
        title=f"order of an epoch: {days} windows, files of {steps}, batches of {batch}",
        caption="means of three epochs; near: other windows of the batch within five days",
    )
    page.add_column("files mixed")
    for name in ("neighbours in one file", "serial correlation", "near", "files per batch"):
        page.add_column(name, justify="right")
    files = np.arange(days) // steps
    for buffer in (1, 4, 8, 16, len(np.unique(files))):
        sampler = BlockShuffleSampler(files, seed=0, buffer=buffer)
        found = [measure(sampler.order(epoch), files, batch) for epoch in range(3)]
        name = "all" if buffer == len(np.unique(files)) else str(buffer)
        page.add_row(name, *_cells(found))
    return page


def _cells(found: list[Randomness]) -> Iterator[str]:
    for name in ("same_file", "serial_correlation", "near", "files_per_batch"):
        yield f"{np.mean([getattr(one, name) for one in found]):.3f}"
