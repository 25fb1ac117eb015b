"""Days of a store that the benchmark reads, and the forecasts between them.

A sample is a day `t` with the day before and the day after it, all three in one piece of the
training or of the validation, so that no sample spans a gap of the time axis or two pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_modules.store.periods import find_days
from data_modules.store.training_store import TrainingStore
from slams.benchmarks.state.recipe import StateBenchConfig, day_pieces
from slams.calendar.days import day_number, day_of
from slams.calendar.steps import describe_step
from slams.errors import UserError

__all__ = ["SampleDays", "choose_days"]


@dataclass(frozen=True)
class SampleDays:
    """Days to read and the samples among them.

    Attributes:
        position: `(N,)` positions on the store's time axis, increasing.
        time: `(N,)` days since 1970-01-01 00 UTC.
        start: `(S,)` position in `time` of the day `t` of each sample; `t - 1` and `t + 1` are
            its neighbours.
        train: `(K, S)` bool, whether each choice of training days has the sample.
        validation: `(S,)` bool.
        names: Names of the `K` choices.
    """

    position: np.ndarray
    time: np.ndarray
    start: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    names: tuple[str, ...]

    def validation_months(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each calendar month that is forecast, with the days `t` `(D,)` of its samples."""
        start = self.start[self.validation]
        when = np.floor(self.time[start + 1]).astype("datetime64[D]").astype("datetime64[M]")
        for month in np.unique(when):
            yield str(month), torch.from_numpy(start[when == month])


def choose_days(store: TrainingStore, config: StateBenchConfig) -> SampleDays:
    """Find the days of a recipe in a store.

    Raises:
        UserError: A choice has no sample in the store, a piece has days that the store reserves
            for the test, or the store's statistics come from days of the validation.
    """
    if store.step != 1:
        raise UserError(
            f"key 'store': training store {store.path} has steps of {describe_step(store.step)}, "
            f"expected days"
        )
    _refuse_overlap(
        store, "validation", config.validation, "statistics_days", "takes its statistics from"
    )
    found = {
        entry.name: _samples(store, f"train.{number}.days", entry.days, config.stride)
        for number, entry in enumerate(config.train)
    }
    checked = _samples(store, "validation", config.validation, 1)
    middle = np.unique(np.concatenate([*found.values(), checked]))
    # Each sample needs its neighbours; days are looked up by date, as the time axis has gaps.
    position = np.unique(middle[:, None] + np.arange(-1, 2))
    return SampleDays(
        position=position,
        time=store.time[position],
        start=np.searchsorted(position, middle),
        train=np.stack([np.isin(middle, days) for days in found.values()]),
        validation=np.isin(middle, checked),
        names=tuple(found),
    )


def _samples(store: TrainingStore, key: str, days: list[str], stride: int) -> np.ndarray:
    """Find the positions of the days `t` of the samples that lie in some pieces."""
    _refuse_overlap(store, key, days, "reserved_days", "reserves for the test")
    chosen = []
    for first, last in day_pieces(key, days):
        inner = np.arange(day_number(first) + 1, day_number(last), stride)
        index = find_days(store.time, inner[:, None] + np.arange(-1, 2))
        chosen.append(index[(index >= 0).all(axis=1), 1])
    if not sum(map(len, chosen)):
        raise UserError(
            f"key {key!r}: training store {store.path} has no three consecutive days of them; it "
            f"holds {day_of(store.time[0])} to {day_of(store.time[-1])}"
        )
    return np.concatenate(chosen)


def _refuse_overlap(
    store: TrainingStore, key: str, days: list[str], attribute: str, why: str
) -> None:
    """Refuse pieces that contain days of pieces listed in an attribute of the store."""
    listed = list(store.attributes.get(attribute) or [])
    for start, end in day_pieces(attribute, listed) if listed else ():
        for first, last in day_pieces(key, days):
            if first <= end and start <= last:
                raise UserError(
                    f"key {key!r}: {first} to {last} has days that training store {store.path} "
                    f"{why}, {start} to {end}; choose other days"
                )
