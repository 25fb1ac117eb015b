"""The keys of `slams bench data`, and their validation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from slams.config.checks.rules import holds
from slams.errors import UserError

__all__ = ["StreamBenchConfig", "check_stream_bench", "parse_grid"]


@dataclass
class StreamBenchConfig:
    """How fast windows are read from a training store, compared with other readers."""

    # Grids as LATITUDESxLONGITUDESxCHANNELS, each with its own synthetic store.
    grids: list[str] = field(default_factory=lambda: ["48x96x11", "121x240x13"])
    # Days per store, and per window.
    days: int = 320
    window: int = 5
    # Windows per batch.
    batch_size: int = 8
    # Numbers of DataLoader workers.
    workers: list[int] = field(default_factory=lambda: [0, 2])
    # Repetitions, in each of which every reader has its turn.
    repetitions: int = 5
    # Approximate seconds per measurement.
    seconds: float = 1.0
    # Whether to measure also with files that are not in the page cache.
    cold: bool = True
    # Whether to keep the stores (in the output directory, `stores`).
    keep_stores: bool = False
    seed: int = 0


def parse_grid(text: str) -> tuple[int, int, int]:
    """Read `48x96x11` as (channels, latitudes, longitudes) `(11, 48, 96)`.

    Raises:
        UserError: The text is not such a grid.
    """
    parts = text.split("x")
    if len(parts) != 3 or not all(re.fullmatch(r"[1-9][0-9]{0,8}", p) for p in parts):
        raise UserError(
            f"key 'grids': found {text!r}, expected LATITUDESxLONGITUDESxCHANNELS such as 48x96x11"
        )
    rows, columns, channels = map(int, parts)
    if channels > 200:
        raise UserError(
            f"key 'grids': found {channels} channels in {text!r}, expected 200 at most"
        )
    return channels, rows, columns


def check_stream_bench(config: StreamBenchConfig) -> None:
    """Refuse a recipe that contradicts itself.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    for key in ("window", "batch_size", "repetitions"):
        holds(config, key, lambda v: v >= 1, "at least 1")
    holds(config, "seconds", lambda v: v > 0, "more than 0")
    holds(config, "seed", lambda v: v >= 0, "0 or more")
    fewest = 2 * config.window * config.batch_size
    expected = f"at least the days of two batches of separate windows, {fewest}"
    holds(config, "days", lambda v: v >= fewest, expected)
    for key in ("grids", "workers"):
        holds(config, key, bool, "at least one")
    holds(config, "workers", lambda v: all(w >= 0 for w in v), "numbers of 0 or more")
    for grid in config.grids:
        parse_grid(grid)
