"""The keys of `slams bench prepare`, with defaults, and their validation.

The comment above a field is its help text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slams.config.checks.rules import holds, one_of
from slams.config.memory import parse_memory
from slams.errors import UserError

__all__ = ["PreparationBenchConfig", "check_preparation_bench"]


@dataclass
class PreparationBenchConfig:
    """A synthetic source, and how it is prepared: once uninterrupted, once with kills."""

    # Values of the source before compression (10^9 bytes).
    gigabytes: float = 20.0
    # Grid of the source, poles included, and its levels (hPa).
    rows: int = 121
    columns: int = 240
    levels: list[int] = field(
        default_factory=lambda: [50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000]
    )
    # Days per chunk of the source.
    chunk_days: int = 8
    # Grid of the store, as `data.source.grid`, and the regridding.
    grid: str = "48x96"
    regrid: str = "conservative"
    # As `data.prepare.memory`, `data.prepare.scheduler`, `data.prepare.workers`.
    memory: str = "2 GB"
    scheduler: str = "threads"
    workers: int = 0
    # Number of times that the second preparation is killed (SIGKILL), spread over its files.
    kills: int = 3
    # Whether to keep the source and the stores; otherwise they are removed at the end.
    keep: bool = False
    seed: int = 0


def check_preparation_bench(config: PreparationBenchConfig) -> None:
    """Refuse a benchmark with invalid settings.

    Raises:
        UserError: The key, what was found, what is expected.
    """
    holds(config, "gigabytes", lambda v: v > 0, "more than 0")
    for key, least in {"rows": 3, "columns": 4, "chunk_days": 1, "kills": 0, "workers": 0}.items():
        holds(config, key, lambda v, least=least: v >= least, f"at least {least}")
    one_of("scheduler", config.scheduler, ("threads", "distributed"))
    one_of("regrid", config.regrid, ("conservative", "bilinear"))
    parse_memory("memory", config.memory)
    if not config.levels or len(set(config.levels)) != len(config.levels):
        raise UserError(f"key 'levels': found {config.levels}, expected levels (hPa), each once")
