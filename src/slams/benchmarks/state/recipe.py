"""The keys of `slams bench state`, with defaults, and their validation.

The comment above a field is its help text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise

from slams.benchmarks.state.states import STATES
from slams.config.checks.rules import check_optimizer, holds, one_of, unique
from slams.config.schema import OptimizerConfig
from slams.config.splits import day_range
from slams.errors import UserError

__all__ = [
    "METHODS",
    "RegressionConfig",
    "StateBenchConfig",
    "StateNetworkConfig",
    "TrainingDaysConfig",
    "check_state_bench",
    "day_pieces",
]

METHODS = ("regression", "network")


@dataclass
class TrainingDaysConfig:
    """One choice of training days."""

    # Name in the tables, for example `16 years`.
    name: str = ""
    # First and last day (ISO dates, both inclusive) of each piece, one piece after the other.
    days: list[str] = field(default_factory=list)


@dataclass
class RegressionConfig:
    """The local ridge regression."""

    # States of the table, see `slams.benchmarks.state.states`.
    states: list[str] = field(default_factory=lambda: list(STATES))
    # Rows and columns (odd numbers) of the patch around a point that predictors are taken from:
    # temperature, surface fields and surface pressure; winds and humidity; the same as the first,
    # of the day before; products of wind and temperature gradient.
    patch: list[int] = field(default_factory=lambda: [5, 7])
    wind_patch: list[int] = field(default_factory=lambda: [3, 5])
    before_patch: list[int] = field(default_factory=lambda: [5, 7])
    product_patch: list[int] = field(default_factory=lambda: [1, 1])
    # Ridge penalties to choose from, in units of the number of samples.
    penalties: list[float] = field(default_factory=lambda: [1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
    # Days per block of training days: every fifth block is held out to choose the penalty, without
    # the `apart` days at either end.
    held_out: int = 30
    apart: int = 5
    # Days that are multiplied at a time; this bounds memory.
    block: int = 64
    # Rows of latitude in memory at a time; the store is read once per such band.
    band: int = 8


@dataclass
class StateNetworkConfig:
    """The denoiser trained briefly on each state."""

    states: list[str] = field(
        default_factory=lambda: ["pressure", "winds", "before", "winds_before"]
    )
    # Names of the training days used; empty for all.
    train: list[str] = field(default_factory=list)
    # Widths of the U-Net, one per resolution, blocks per resolution and size of its embedding.
    channels: list[int] = field(default_factory=lambda: [24, 48])
    blocks: int = 1
    embedding: int = 64
    # Training noise: mean and standard deviation of log sigma. Higher than for a network that is
    # sampled from: the short training is spent at the noise levels where the mean is evaluated.
    noise_mean: float = 3.0
    noise_sd: float = 1.0
    # Noise level at which the mean is evaluated, and draws of the noise that it is averaged over.
    sigma: float = 60.0
    draws: int = 2
    batch_size: int = 8
    # Precision of the training, as `trainer.precision`; scores are computed in float32.
    precision: str = "auto"
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=3e-3, steps=800, warmup_steps=50, ema=0.98
        )
    )


@dataclass
class StateBenchConfig:
    """A training store, the days of it that are used, and how forecasts are made from them."""

    # The training store, written by `slams prepare`, with the channels of all states.
    store: str = "stores/nature_run_long.zarr"
    # Methods of forecasting: `regression`, `network` or both.
    methods: list[str] = field(default_factory=lambda: list(METHODS))
    # Choices of training days, the rows of a table.
    train: list[TrainingDaysConfig] = field(default_factory=list)
    # First and last day of each piece of the validation, as in `train`.
    validation: list[str] = field(default_factory=list)
    # Smallest number of days between training and validation.
    gap: int = 5
    # Days from one training sample to the next.
    stride: int = 1
    # Levels (hPa) of the state with winds at three levels.
    levels: list[int] = field(default_factory=lambda: [850, 500, 300])
    # The n-th of m parts of the work, [n, m], so that several processes share it: each is started
    # with the same --output, and the one that ends last prints the whole table.
    share: list[int] = field(default_factory=lambda: [1, 1])
    threads: int = 1
    seed: int = 0
    regression: RegressionConfig = field(default_factory=RegressionConfig)
    network: StateNetworkConfig = field(default_factory=StateNetworkConfig)


def day_pieces(key: str, days: list[str]) -> list[tuple[date, date]]:
    """Read a flat list of ISO dates as the first and last days of pieces.

    Args:
        key: The key of the dates, for the message.
        days: First and last day of each piece, in order.

    Raises:
        UserError: The list is empty or of odd length, a date does not exist, or pieces are not in
            order.
    """
    if not days or len(days) % 2:
        raise UserError(
            f"key {key!r}: found {len(days)} dates, expected the first and last day of each piece"
        )
    pieces = [day_range(key, days[i : i + 2]) for i in range(0, len(days), 2)]
    for (_, end), (start, _) in pairwise(pieces):
        if start <= end:
            raise UserError(
                f"key {key!r}: the piece from {start} begins before the one before it has ended, "
                f"on {end}"
            )
    return pieces


def check_state_bench(config: StateBenchConfig) -> None:
    """Refuse a benchmark that contradicts itself.

    Raises:
        UserError: The key, what was found, what is expected.
    """
    if not config.methods:
        raise UserError(f"key 'methods': found none, expected {' and / or '.join(METHODS)}")
    for method in config.methods:
        one_of("methods", method, METHODS)
    unique("methods", config.methods)
    for section in ("regression", "network"):
        states = getattr(config, section).states
        if not states:
            raise UserError(f"key '{section}.states': found none, expected {', '.join(STATES)}")
        for state in states:
            one_of(f"{section}.states", state, tuple(STATES))
        unique(f"{section}.states", states)
    _check_days(config)
    least = {"gap": 0, "stride": 1, "threads": 1}
    least |= {"regression.held_out": 1, "regression.apart": 0}
    least |= {"regression.block": 1, "regression.band": 1}
    least |= {"network.blocks": 1, "network.embedding": 2}
    least |= {"network.draws": 1, "network.batch_size": 1}
    for key, limit in least.items():
        holds(config, key, lambda value, limit=limit: value >= limit, f"at least {limit}")
    for name in ("patch", "wind_patch", "before_patch", "product_patch"):
        holds(
            config,
            f"regression.{name}",
            lambda value: len(value) == 2 and all(n > 0 and n % 2 for n in value),
            "rows and columns, two odd numbers",
        )
    holds(
        config,
        "regression.penalties",
        lambda value: value and min(value) > 0,
        "numbers above 0",
    )
    holds(
        config,
        "share",
        lambda value: len(value) == 2 and 1 <= value[0] <= value[1],
        "[n, m], the n-th of m parts",
    )
    holds(config, "network.sigma", lambda value: value > 0, "more than 0")
    holds(config, "network.noise_sd", lambda value: value >= 0, "0 or more")
    holds(
        config,
        "network.channels",
        lambda value: value and all(n > 0 and n % 8 == 0 for n in value),
        "multiples of 8",
    )
    one_of("network.precision", config.network.precision, ("auto", "32-true", "bf16-mixed"))
    check_optimizer("network.optimizer", config.network.optimizer)


def _check_days(config: StateBenchConfig) -> None:
    """Refuse training days without a name, or too close to those of the validation."""
    if not config.train:
        raise UserError("key 'train': found none, expected a list of {name: ..., days: [...]}")
    names = [entry.name for entry in config.train]
    unique("train", names)
    for name in config.network.train:
        one_of("network.train", name, names)
    validation = day_pieces("validation", config.validation)
    near = timedelta(days=config.gap)
    for number, entry in enumerate(config.train):
        if not entry.name:
            raise UserError(f"key 'train.{number}.name': found none, expected a name")
        for first, last in day_pieces(f"train.{number}.days", entry.days):
            for start, end in validation:
                if first <= end + near and start <= last + near:
                    raise UserError(
                        f"key 'train.{number}.days': {first} to {last} overlaps or is closer "
                        f"than {config.gap} days (key 'gap') to the validation, {start} to {end}"
                    )
