"""Projected size, files and speed of a quarter-degree store in the layout of the others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_modules.store.training_store import shard_steps
from slams.benchmarks.stream_recipe import parse_grid

__all__ = ["plan_table"]

_ROWS, _COLUMNS, _CHANNELS = 721, 1440, 13
_YEARS = 40


def plan_table(samples: pd.DataFrame, window: int) -> pd.DataFrame:
    """Calculate the projection from the measured speed on the largest grid.

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
    for state in there["page_cache"].unique():
        for reader in ("store", "cache"):
            part = there[(there["reader"] == reader) & (there["page_cache"] == state)]
            speed = part["mb_per_second"].median()
            rows.append((f"{reader}, {state}", 1e6 * speed / (window * day), "samples/s"))
    return pd.DataFrame(rows, columns=["what", "value", "unit"])
