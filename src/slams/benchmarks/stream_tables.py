"""The tables of `slams bench data`, computed from its measurements, and their printed form."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from rich.table import Table

from data_modules.store.training_store import shard_steps
from data_modules.stream.samplers import BlockShuffleSampler
from slams.benchmarks.recipes import StreamBenchConfig, parse_grid
from slams.benchmarks.shuffle_quality import measure
from slams.benchmarks.window_readers import READERS
from slams.runtime.console import make_table

__all__ = ["RATIOS", "plan_table", "ratio_table", "stream_pages"]

# Readers that are compared, and the smallest ratio aimed at.
RATIOS = (
    ("store", "xarray+dask", 5.0),
    ("store", "xarray", None),
    ("store", "variables", None),
    ("cache", "memmap", 0.9),
    ("cache", "pread", 1.0),
    ("store", "memmap", None),
)
_CELL = ["grid", "page_cache", "workers"]
# Quarter-degree store whose size and speed are projected: grid, channels and years of days.
_ROWS, _COLUMNS, _CHANNELS, _YEARS = 721, 1440, 13, 40


def ratio_table(samples: pd.DataFrame) -> pd.DataFrame:
    """Compare readers within each repetition.

    Args:
        samples: Result of `slams.benchmarks.stream.sample_table`.

    Returns:
        Columns grid, page_cache, workers, reader, against, smallest, median, largest (ratios of
        samples per second), cpu (ratio of the median times of the processor, 1 worker less), aim.
    """
    rows = []
    for cell, part in samples.groupby(_CELL, sort=False):
        speed = part.pivot(index="repetition", columns="reader", values="samples_per_second")
        cpu = part.groupby("reader")["cpu_ms_per_sample"].median()
        for reader, against, aim in RATIOS:
            ratio = speed[reader] / speed[against]
            found = (ratio.min(), ratio.median(), ratio.max(), cpu[against] / cpu[reader])
            rows.append((*cell, reader, against, *found, aim))
    columns = [*_CELL, "reader", "against", "smallest", "median", "largest", "cpu", "aim"]
    return pd.DataFrame(rows, columns=columns)


def plan_table(samples: pd.DataFrame, window: int) -> pd.DataFrame:
    """Project size, files and speed of a quarter-degree store from the largest measured grid.

    Args:
        samples: Result of `slams.benchmarks.stream.sample_table`.
        window: Days per window.

    Returns:
        Columns what, value, unit.
    """
    values = _ROWS * _COLUMNS * _CHANNELS
    day, steps = 4 * values, shard_steps(values)
    days = 365.2425 * _YEARS
    largest = max(samples["grid"].unique(), key=lambda g: int(np.prod(parse_grid(g))))
    there = samples[(samples["grid"] == largest) & (samples["workers"] == 0)]
    whole = there[there["reader"] == "cache"]["bytes"].iloc[0]
    share = there[there["reader"] == "store"]["bytes"].iloc[0] / whole
    rows = [
        ("bytes of a day", day / 1e6, "MB"),
        (f"bytes of a window of {window} days", window * day / 1e6, "MB"),
        ("days per file", steps, ""),
        ("compressed to (as measured here)", share, ""),
        ("bytes of a file", steps * day * share / 1e6, "MB"),
        (f"files, {_YEARS} years of days", np.ceil(days / steps), ""),
        (f"store, {_YEARS} years", days * day * share / 1e9, "GB"),
        (f"cache file, {_YEARS} years", days * day / 1e9, "GB"),
    ]
    speeds = there.groupby(["page_cache", "reader"])["mb_per_second"].median()
    for state in there["page_cache"].unique():
        for reader in ("store", "cache"):
            speed = 1e6 * speeds.get((state, reader), np.nan) / (window * day)
            rows.append((f"{reader}, {state}", speed, "samples/s"))
    return pd.DataFrame(rows, columns=["what", "value", "unit"])


def stream_pages(
    samples: pd.DataFrame, ratios: pd.DataFrame, plan: pd.DataFrame, config: StreamBenchConfig
) -> Iterator[Table]:
    """Lay out the measurements, their ratios, the projection and the randomness of an epoch.

    Args:
        samples: Result of `slams.benchmarks.stream.sample_table`.
        ratios: Result of `ratio_table`.
        plan: Result of `plan_table`.
        config: The recipe.
    """
    rows = []
    for (*cell, reader), part in samples.groupby([*_CELL, "reader"], sort=False):
        speed = part["samples_per_second"]
        spread = f"{speed.median():.0f} ({speed.min():.0f} to {speed.max():.0f})"
        size, cpu = part["mb_per_second"].median(), part["cpu_ms_per_sample"].median()
        rows.append((*cell, READERS[reader].label, spread, f"{size:.0f}", _number(cpu, ".2f")))
    yield make_table(
        f"random windows of {config.window} days, batches of {config.batch_size}",
        ("grid", "page cache", "workers", "reader", "samples/s", "MB/s", "ms CPU per sample"),
        rows,
        "samples/s: median (smallest to largest) of the repetitions; processor time of the "
        "reading process",
        texts=4,
    )
    rows = []
    for row in ratios.itertuples():
        cell = (row.grid, row.page_cache, row.workers, f"{row.reader} / {row.against}")
        found = (f"{ratio:.2f}" for ratio in (row.median, row.smallest, row.largest))
        rows.append((*cell, *found, _number(row.cpu, ".2f"), _number(row.aim, "g")))
    yield make_table(
        "ratios of samples/s within a repetition",
        ("grid", "page cache", "workers", "ratio", "median", "smallest", "largest", "CPU", "aim"),
        rows,
        "CPU: ratio of the processor times per sample, which other programs affect less",
        texts=4,
    )
    yield make_table(
        f"{_ROWS} x {_COLUMNS} in the same layout, by calculation",
        ("what", "value"),
        ((row.what, f"{row.value:,.4g} {row.unit}") for row in plan.itertuples()),
        "samples/s: MB/s as measured on the largest grid here, over the bytes of a window",
    )
    yield _randomness_page()


def _number(value: float | None, layout: str) -> str:
    return "" if value is None or np.isnan(value) else format(value, layout)


def _randomness_page(days: int = 3650, steps: int = 64, batch: int = 8) -> Table:
    """Measure the order of an epoch for ten years of days in files of 64, three epochs each."""
    files = np.arange(days) // steps
    every = len(np.unique(files))
    rows = []
    for buffer in (1, 4, 8, 16, every):
        sampler = BlockShuffleSampler(files, seed=0, buffer=buffer)
        found = pd.DataFrame([measure(sampler.order(epoch), files, batch) for epoch in range(3)])
        name = "all" if buffer == every else buffer
        rows.append((name, *(f"{mean:.3f}" for mean in found.mean())))
    return make_table(
        f"order of an epoch: {days} windows, files of {steps}, batches of {batch}",
        ("files mixed", "neighbours in one file", "serial correlation", "near", "files per batch"),
        rows,
        "means of three epochs; near: other windows of the batch within five days",
    )
