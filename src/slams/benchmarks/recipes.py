"""The keys of the benchmarks' recipes, with their defaults and rules.

The comment above a key is its help text. Reading a recipe imports nothing heavy. The recipe of
`slams bench state` is in `slams.benchmarks.state.recipe`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slams.config.checks.rules import check_that
from slams.config.memory import MEMORY
from slams.errors import UserError
from slams.plugins.keys import (
    DISTINCT,
    NOT_EMPTY,
    NOT_NEGATIVE,
    POSITIVE,
    Rule,
    at_least,
    each,
    key,
    not_empty,
    one_of,
    that,
)

__all__ = [
    "AnalysisScalingConfig",
    "ClimateConfig",
    "CostConfig",
    "PreparationBenchConfig",
    "StreamBenchConfig",
    "check_climate",
    "check_cost",
    "check_stream_bench",
    "parse_grid",
    "parse_plane",
]

_GRID = "LATITUDESxLONGITUDESxCHANNELS such as 48x96x11"
_PLANE = "LATITUDESxLONGITUDES such as 121x240"
_MOST_CHANNELS = 200
_COUNTS = each(at_least(1))


@dataclass
class AnalysisScalingConfig:
    """Synthetic cases whose guidance `slams bench scaling` times, each in its own process.

    What is not varied is that of the first recipe: members, archive days, noise levels, latent
    channels, localisation and the local analysis.
    """

    # Numbers of reports.
    reports: list[int] = key([500, 1000, 2000, 4000, 8000, 16000, 30000], NOT_EMPTY, _COUNTS)
    # Largest number of reports that is also analysed at once, as one dense system.
    dense: int = key(8000, NOT_NEGATIVE)
    # Largest number that is also analysed domain by domain with all observations in reach.
    unselected: int = key(2000, NOT_NEGATIVE)
    # Grids of the fields as LATITUDESxLONGITUDES; the first is that of the other tables.
    grids: list[str] = key(
        ["121x240", "48x96", "181x360"],
        NOT_EMPTY,
        each(Rule(_PLANE, lambda name, text: parse_plane(text, name))),
    )
    # Numbers of members.
    members: list[int] = key([4, 16, 64], NOT_EMPTY, _COUNTS)
    # Numbers of days in the archive of denoising errors.
    days: list[int] = key([120, 240, 480], NOT_EMPTY, each(at_least(2)))
    # Reports of the tables in which something else is varied.
    fixed_reports: int = key(4000, at_least(1))
    # Noise levels that are timed in each case.
    levels: int = key(3, at_least(2))
    # Threads of each process.
    threads: int = key(1, at_least(1))


@dataclass
class CostConfig:
    """Recipes that `slams bench sampler`, `train` and `scaling` time in turn, in one run."""

    # Name in the tables -> recipe (path from the working directory). Ratios are relative to the
    # first recipe.
    recipes: dict[str, Any] = field(default_factory=dict)
    # Method of the recipes that `sampler` times.
    method: str = "latent_diffusion"
    # Verifying dates that `sampler` analyses with each recipe, the same for all.
    cases: int = key(3, at_least(1))
    # Members per analysis in `sampler`, and in `scaling` while the steps of the sampler vary.
    members: int = key(4, at_least(2))
    # Training steps that `train` times at once.
    steps: int = key(10, at_least(1))
    # Rounds of `train` over the recipes.
    repetitions: int = key(5, at_least(1))
    # Numbers of other programs, each of which occupies a core, while `train` times the recipes.
    busy: list[int] = key([0], NOT_EMPTY, each(at_least(0)))
    # Numbers of processes with which `scaling` trains the first recipe.
    ranks: list[int] = key([1, 2], NOT_EMPTY, each(at_least(1)))
    # Training steps of each of these trainings.
    scaling_steps: int = key(120, at_least(1))
    # Steps of the sampler with which `scaling` samples the first recipe, with `members` members.
    sampler_steps: list[int] = key([8, 16, 32, 64], NOT_EMPTY, each(at_least(2)))
    # Numbers of members with which it samples, with the recipe's own number of steps.
    sampler_members: list[int] = key([2, 4, 8, 16], NOT_EMPTY, each(at_least(2)))
    # Tables that `scaling` makes: `analysis` (guidance against reports, grid, members and archive
    # days, which needs no trained network), `denoiser`, `sampling` and `ranks`.
    tables: list[str] = key(
        ["analysis", "denoiser", "sampling", "ranks"],
        NOT_EMPTY,
        each(one_of("analysis", "denoiser", "sampling", "ranks")),
        DISTINCT,
    )
    analysis: AnalysisScalingConfig = field(default_factory=AnalysisScalingConfig)


def check_cost(config: CostConfig) -> None:
    """Refuse a recipe that contradicts itself.

    Raises:
        UserError: One sentence with the key.
    """
    not_empty("{name: recipe.yaml}, the first to compare with").check("recipes", config.recipes)
    for name, path in config.recipes.items():
        if not isinstance(path, str):
            raise UserError(f"key 'recipes.{name}': found {path!r}, expected the path of a recipe")
        if not Path(path).is_file():
            raise UserError(
                f"key 'recipes.{name}': {path} is not there; paths are relative to the working "
                f"directory"
            )


def parse_grid(text: str, name: str = "grids") -> tuple[int, int, int]:
    """Read `48x96x11` as (channels, latitudes, longitudes) `(11, 48, 96)`.

    Args:
        text: Text of the grid.
        name: The key, for the message.

    Raises:
        UserError: The text is not such a grid.
    """
    parts = text.split("x")
    if len(parts) != 3 or not all(re.fullmatch(r"[1-9][0-9]{0,8}", part) for part in parts):
        raise UserError(f"key {name!r}: found {text!r}, expected {_GRID}")
    rows, columns, channels = map(int, parts)
    if channels > _MOST_CHANNELS:
        raise UserError(
            f"key {name!r}: found {channels} channels in {text!r}, expected {_MOST_CHANNELS} at "
            f"most"
        )
    return channels, rows, columns


def parse_plane(text: str, name: str = "grids") -> tuple[int, int]:
    """Read `121x240` as (latitudes, longitudes).

    Args:
        text: Text of the grid.
        name: The key, for the message.

    Raises:
        UserError: The text is not such a grid.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if not found:
        raise UserError(f"key {name!r}: found {text!r}, expected {_PLANE}")
    return int(found[1]), int(found[2])


@dataclass
class StreamBenchConfig:
    """How fast windows are read from a training store, compared with other readers."""

    # Grids as LATITUDESxLONGITUDESxCHANNELS, each with its own synthetic store.
    grids: list[str] = key(
        ["48x96x11", "121x240x13"],
        NOT_EMPTY,
        each(Rule(_GRID, lambda name, text: parse_grid(text, name))),
    )
    # Days per store, at least those of two batches of separate windows.
    days: int = 320
    # Days per window.
    window: int = key(5, at_least(1))
    # Windows per batch.
    batch_size: int = key(8, at_least(1))
    # Numbers of DataLoader workers.
    workers: list[int] = key([0, 2], NOT_EMPTY, each(NOT_NEGATIVE))
    # Repetitions, in each of which every reader has its turn.
    repetitions: int = key(5, at_least(1))
    # Approximate seconds per measurement.
    seconds: float = key(1.0, POSITIVE)
    # Whether to measure also with files that are not in the page cache.
    cold: bool = True
    # Whether to keep the stores (in the output directory, `stores`).
    keep_stores: bool = False
    # Seed of the stores' fields, of the windows that are read and of the readers' order.
    seed: int = key(0, NOT_NEGATIVE)


def check_stream_bench(config: StreamBenchConfig) -> None:
    """Refuse a store with too few days.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    fewest = 2 * config.window * config.batch_size
    expected = f"at least the days of two batches of separate windows, {fewest}"
    check_that(config.days >= fewest, config, "days", expected)


@dataclass
class PreparationBenchConfig:
    """A synthetic source, and how it is prepared: once uninterrupted, once with kills."""

    # Values of the source before compression (10^9 bytes).
    gigabytes: float = key(20.0, POSITIVE)
    # Latitudes of the source, poles included.
    rows: int = key(121, at_least(3))
    # Longitudes of the source.
    columns: int = key(240, at_least(4))
    # Levels (hPa) of the source.
    levels: list[int] = key(
        [50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000],
        that(lambda v: v and len(set(v)) == len(v), "levels (hPa), each once"),
    )
    # Days per chunk of the source.
    chunk_days: int = key(8, at_least(1))
    # Grid of the store, as `data.source.grid`.
    grid: str = "48x96"
    # Regridding to it, as `data.source.regrid`.
    regrid: str = key("conservative", one_of("conservative", "bilinear"))
    # Bound on the memory of each process, as `data.prepare.memory`.
    memory: str = key("2 GB", MEMORY)
    # Where the work is done, as `data.prepare.scheduler`.
    scheduler: str = key("threads", one_of("threads", "distributed"))
    # Largest number of threads or processes, as `data.prepare.workers`; 0 for the number of cores.
    workers: int = key(0, at_least(0))
    # Number of times that the second preparation is killed (SIGKILL), spread over its files.
    kills: int = key(3, at_least(0))
    # Whether to keep the source and the stores; otherwise they are removed at the end.
    keep: bool = False
    # Seed of the source's waves.
    seed: int = 0


@dataclass
class ClimateConfig:
    """Nature runs whose climates are compared with one another and with observed ones."""

    # Stores written by `slams simulate`, in the order of time; each is a segment with its own
    # spin-up.
    segments: list[str] = key([], not_empty("stores that `slams simulate` wrote"))
    # First and last day to read of each segment (ISO dates, in pairs); empty for all of them.
    days: list[str] = field(default_factory=list)
    # June means of the NCEP/NCAR reanalysis, the file `ncep_june_climo_17lev_T42.nc` of NCAR; ""
    # omits the comparison.
    june: str = ""
    # Annual cycle of precipitation from GPCP, the file `gpcp_pr_annualcycle.nc`; "" omits the
    # comparison.
    precipitation: str = ""
    # Sea surface temperature anomalies that drove the nature run, the file
    # `sea_surface_temperature_anomaly.nc` of jcm: their trend is printed next to the model's; ""
    # omits them.
    forcing: str = ""


def check_climate(config: ClimateConfig) -> None:
    """Refuse days that do not come in pairs, one per segment.

    Raises:
        UserError: The key, what was found, what is expected.
    """
    if len(config.days) not in (0, 2 * len(config.segments)):
        raise UserError(
            f"key 'days': found {len(config.days)} days, expected the first and the last of each "
            f"of the {len(config.segments)} segments, or no days"
        )
