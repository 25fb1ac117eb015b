"""The states that `slams bench state` compares, and its keys with their defaults and rules.

The comment above a field is its help text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise

from slams.config.schema import OptimizerConfig
from slams.config.splits import day_range
from slams.errors import UserError
from slams.plugins.keys import (
    DISTINCT,
    NOT_NEGATIVE,
    POSITIVE,
    at_least,
    each,
    key,
    not_empty,
    one_of,
    that,
)

__all__ = [
    "STATES",
    "RegressionConfig",
    "State",
    "StateBenchConfig",
    "StateNetworkConfig",
    "TrainingDaysConfig",
    "check_state_bench",
    "day_pieces",
]


@dataclass(frozen=True)
class State:
    """One row of the table.

    Attributes:
        label: What the state holds, in words.
        groups: Groups of predictors, see `slams.benchmarks.state.predictors`.
    """

    label: str
    groups: frozenset[str]


_SURFACE = frozenset({"temperature", "surface"})
_PRESSURE = _SURFACE | {"pressure"}
_WINDS_3 = _PRESSURE | {"winds_3"}
_WINDS = _WINDS_3 | {"winds"}
_BEFORE = frozenset({"before"})

STATES = {
    "surface": State("T and surface fields", _SURFACE),
    "pressure": State("+ surface pressure", _PRESSURE),
    "winds_3": State("+ winds, humidity at three levels, products", _WINDS_3),
    "winds": State("+ winds at all levels, all humidity, products", _WINDS),
    "before": State("T, surface, pressure, the day before", _PRESSURE | _BEFORE),
    "winds_3_before": State("winds at three levels, products, the day before", _WINDS_3 | _BEFORE),
    "winds_before": State(
        "winds at all levels, humidity, products, the day before", _WINDS | _BEFORE
    ),
}

_METHODS = ("regression", "network")
_STATES = (not_empty(", ".join(STATES)), each(one_of(*STATES)), DISTINCT)
_PATCH = that(
    lambda v: len(v) == 2 and all(n > 0 and n % 2 for n in v), "rows and columns, two odd numbers"
)


@dataclass
class TrainingDaysConfig:
    """One choice of training days."""

    # Name in the tables, for example `16 years`.
    name: str = key("", that(bool, "a name"))
    # First and last day (ISO dates, both inclusive) of each piece, one piece after the other.
    days: list[str] = field(default_factory=list)


@dataclass
class RegressionConfig:
    """The local ridge regression."""

    # States of the table.
    states: list[str] = key(list(STATES), *_STATES)
    # Patch around a point that temperature, surface fields and surface pressure are taken from.
    patch: list[int] = key([5, 7], _PATCH)
    # Patch of winds and humidity.
    wind_patch: list[int] = key([3, 5], _PATCH)
    # Patch of temperature, surface fields and surface pressure of the day before.
    before_patch: list[int] = key([5, 7], _PATCH)
    # Patch of products of wind and temperature gradient.
    product_patch: list[int] = key([1, 1], _PATCH)
    # Ridge penalties to choose from, in units of the number of samples.
    penalties: list[float] = key(
        [1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
        not_empty("numbers above 0"),
        each(that(lambda v: v > 0, "a number above 0")),
    )
    # Days per block of training days: every fifth block is held out to choose the penalty, without
    # the `apart` days at either end.
    held_out: int = key(30, at_least(1))
    # Days at either end of a held-out block that neither fit nor choose the penalty.
    apart: int = key(5, at_least(0))
    # Days that are multiplied at a time; this bounds memory.
    block: int = key(64, at_least(1))
    # Rows of latitude in memory at a time; the store is read once per such band.
    band: int = key(8, at_least(1))


@dataclass
class StateNetworkConfig:
    """The denoiser trained briefly on each state."""

    # States that a network is trained on.
    states: list[str] = key(["pressure", "winds", "before", "winds_before"], *_STATES)
    # Names of the training days used; empty for all.
    train: list[str] = field(default_factory=list)
    # Widths of the U-Net, one per resolution.
    channels: list[int] = key(
        [24, 48],
        not_empty("multiples of 8"),
        each(that(lambda v: v > 0 and v % 8 == 0, "a multiple of 8")),
    )
    # Residual blocks per resolution, on the way down and on the way up.
    blocks: int = key(1, at_least(1))
    # Size of the vector of noise level and season that scales and shifts the features of each
    # block.
    embedding: int = key(64, at_least(2))
    # Mean of log sigma, the logarithm of the noise level in training. Higher than for a network
    # that is sampled from: the short training is spent at the noise levels where the mean is
    # evaluated.
    noise_mean: float = 3.0
    # Standard deviation of log sigma; 0 trains at one noise level.
    noise_sd: float = key(1.0, NOT_NEGATIVE)
    # Noise level at which the mean is evaluated.
    sigma: float = key(60.0, POSITIVE)
    # Draws of noise that the mean is averaged over; each is used with both signs, so that an odd
    # number is rounded up.
    draws: int = key(2, at_least(1))
    # Training samples per batch.
    batch_size: int = key(8, at_least(1))
    # Precision of the training, as `trainer.precision`; scores are computed in float32.
    precision: str = key("auto", one_of("auto", "32-true", "bf16-mixed"))
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
    methods: list[str] = key(
        list(_METHODS), not_empty(" and / or ".join(_METHODS)), each(one_of(*_METHODS)), DISTINCT
    )
    # Choices of training days, the rows of a table.
    train: list[TrainingDaysConfig] = key([], not_empty("a list of {name: ..., days: [...]}"))
    # First and last day of each piece of the validation, as in `train`.
    validation: list[str] = field(default_factory=list)
    # Smallest number of days between training and validation.
    gap: int = key(5, at_least(0))
    # Days from one training sample to the next.
    stride: int = key(1, at_least(1))
    # Levels (hPa) of the state with winds at three levels.
    levels: list[int] = field(default_factory=lambda: [850, 500, 300])
    # The n-th of m parts of the work, [n, m], so that several processes share it: each is started
    # with the same --output, and the one that ends last prints the whole table.
    share: list[int] = key(
        [1, 1],
        that(lambda v: len(v) == 2 and 1 <= v[0] <= v[1], "[n, m], the n-th of m parts"),
    )
    # Threads of the process on the CPU.
    threads: int = key(1, at_least(1))
    # Seed of initial weights, training batches, noise and resamples.
    seed: int = 0
    regression: RegressionConfig = field(default_factory=RegressionConfig)
    network: StateNetworkConfig = field(default_factory=StateNetworkConfig)


def day_pieces(name: str, days: list[str]) -> list[tuple[date, date]]:
    """Read a flat list of ISO dates as the first and last days of pieces.

    Args:
        name: The key of the dates, for the message.
        days: First and last day of each piece, in order.

    Raises:
        UserError: The list is empty or of odd length, a date does not exist, or pieces are not in
            order.
    """
    if not days or len(days) % 2:
        raise UserError(
            f"key {name!r}: found {len(days)} dates, expected the first and last day of each piece"
        )
    pieces = [day_range(name, days[i : i + 2]) for i in range(0, len(days), 2)]
    for (_, end), (start, _) in pairwise(pieces):
        if start <= end:
            raise UserError(
                f"key {name!r}: the piece from {start} begins before the one before it has ended, "
                f"on {end}"
            )
    return pieces


def check_state_bench(config: StateBenchConfig) -> None:
    """Refuse training days of an equal name, or too close to those of the validation.

    Raises:
        UserError: The key, what was found, what is expected.
    """
    names = [entry.name for entry in config.train]
    DISTINCT.check("train", names)
    for name in config.network.train:
        one_of(*names).check("network.train", name)
    validation = day_pieces("validation", config.validation)
    near = timedelta(days=config.gap)
    for number, entry in enumerate(config.train):
        for first, last in day_pieces(f"train.{number}.days", entry.days):
            for start, end in validation:
                if first <= end + near and start <= last + near:
                    raise UserError(
                        f"key 'train.{number}.days': {first} to {last} overlaps or is closer "
                        f"than {config.gap} days (key 'gap') to the validation, {start} to {end}"
                    )
