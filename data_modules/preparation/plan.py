"""The plan of a preparation: sources opened, checked and joined, nothing written yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_modules.preparation.gaps import describe_gaps
from data_modules.preparation.merging import Part, open_parts
from data_modules.preparation.seasons import check_seasons
from data_modules.store.periods import Period, split_periods
from data_modules.store.steps import Steps
from data_modules.store.training_store import TrainingStore, iso_date
from slams.calendar.steps import describe_step
from slams.cf.days import instant_variables
from slams.config.schema import DataConfig
from slams.config.splits import check_apart, day_pieces, split_pieces
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid

__all__ = ["Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """Plan of a preparation, with open and checked sources.

    Attributes:
        parts: The sources, each with the channels that it provides.
        channels: The channels of the store, in order.
        grid: The grid of the store.
        time: `(N,)` days since 1970-01-01 00 UTC that every source has, or their steps.
        train: The training period, or `None` when statistics come from another store.
        statistics_from: That store, or `None`.
        periods: The days of every split of the recipe, and the days that it reserves.
        step: Length of a step (days).
    """

    parts: tuple[Part, ...]
    channels: tuple[FieldSpec, ...]
    grid: LatLonGrid
    time: np.ndarray
    train: Period | None
    statistics_from: TrainingStore | None
    periods: tuple[Period, ...]
    step: float = 1.0

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read, check and regrid days `[start, stop)` of the store.

        Returns:
            `(n, C, H, W)` float32 physical on the store's grid, NaN missing.

        Raises:
            UserError: A source is damaged, or has values that are not allowed.
        """
        time = self.time[start:stop]
        train = np.zeros(len(time), bool) if self.train is None else self.train.contains(time)
        if len(self.parts) == 1:
            return self.parts[0].read(start, stop, train)
        out = np.empty((len(time), len(self.channels), *self.grid.shape), np.float32)
        for part in self.parts:
            out[:, list(part.place)] = part.read(start, stop, train)
        return out

    @property
    def terrain(self) -> np.ndarray | None:
        """Return the model's terrain `(H, W)` m on the store's grid, or `None`."""
        for part in self.parts:
            if "surface_elevation" in part.dataset:
                return part.regridder(part.dataset["surface_elevation"].values)
        return None

    @property
    def steps(self) -> Steps:
        """Return the steps of the store, with the variables of which it holds instants."""
        return Steps(self.step, instant_variables({"sources": [p.record for p in self.parts]}))

    @property
    def absent(self) -> list[str]:
        """Return the names of the channels that are missing throughout."""
        return [name for part in self.parts for name in part.config.absent]

    @property
    def gaps(self) -> list[str]:
        """Return the names of the channels that may have missing values."""
        return [name for part in self.parts for name in part.gaps]

    @property
    def repairs(self) -> list[str]:
        """Return descriptions of the repairs made when the sources were opened."""
        return [repair for part in self.parts for repair in part.repairs]

    @property
    def regridding(self) -> str:
        """Return the names of the regridding methods in use, `none` if there are none."""
        methods = (p.regridder.method for p in self.parts if not p.regridder.identity)
        return ", ".join(dict.fromkeys(methods)) or "none"

    def describe(self) -> str:
        """Return a summary of what will be written, a few lines."""
        size = len(self.time) * len(self.channels) * self.grid.shape[0] * self.grid.shape[1] * 4
        lines = [
            f"{len(self.time)} steps from {iso_date(self.time[0])} to {iso_date(self.time[-1])}"
            f"{describe_gaps(self.time, self.step)}",
            *([] if self.step == 1 else [f"steps of {describe_step(self.step)}"]),
            *self.describe_periods(),
            f"{len(self.channels)} channels: {', '.join(c.name for c in self.channels)}",
            f"grid {self.grid.shape[0]} x {self.grid.shape[1]}"
            + ("" if self.regridding == "none" else f", regridded ({self.regridding})"),
            f"{size / 1e6:.0f} MB before compression",
        ]
        notes = [(p.config.path, p.dataset.attrs.get("time")) for p in self.parts]
        lines += [f"{path}: {note}" for path, note in notes if note]
        lines += [f"left out of {p.config.path}: {p.left_out}" for p in self.parts if p.left_out]
        return "\n".join(lines + [f"repaired: {r}" for r in self.repairs])

    def describe_periods(self) -> list[str]:
        """Return one line per split, and one for reserved days: dates and number of days."""
        return [
            f"{'training' if period.name == 'train' else period.name}: {period}, "
            f"{int(period.contains(self.time).sum())} {'days' if self.step == 1 else 'steps'}"
            for period in self.periods
        ]


def plan(data: DataConfig) -> Plan:
    """Open the sources and check that a store can be prepared from them.

    Args:
        data: The recipe's section `data`.

    Raises:
        UserError: Sources, channels, grid or splits are invalid.
    """
    channels = tuple(FieldSpec.parse(name) for name in data.channels)
    for source_key, source in data.inputs:
        for key in ("absent", "gaps"):
            for name in getattr(source, key):
                if name not in data.channels:
                    raise UserError(f"{source_key}.{key}: {name!r} is not among data.channels")
    parts, grid, time = open_parts(data, channels)
    train, statistics = None, None
    periods = split_periods(data.splits, data.window_days)
    if data.statistics_from:
        statistics = _statistics_store(data, grid)
    else:
        _check_periods(periods, time, data.step_days)
        train = _training_period(data, periods)
        check_seasons(np.unique(np.floor(time[train.contains(time)])), data.harmonics)
    if data.splits.reserved:
        periods["reserved"] = Period.of("reserved", data.splits.reserved)
    return Plan(
        parts, channels, grid, time, train, statistics, tuple(periods.values()), data.step_days
    )


def _statistics_store(data: DataConfig, grid: LatLonGrid) -> TrainingStore:
    store = TrainingStore.open(data.statistics_from, data.channels)
    if store.grid.fingerprint != grid.fingerprint:
        raise UserError(
            f"data.statistics_from: {data.statistics_from} has a grid of {store.grid.shape}, the "
            f"store to prepare one of {grid.shape}, expected the same grid; set "
            f"{data.inputs[0][0]}.grid: {data.statistics_from}"
        )
    if store.step != data.step_days:
        raise UserError(
            f"data.statistics_from: {data.statistics_from} has steps of "
            f"{describe_step(store.step)}, the store to prepare of {data.step} (data.step), "
            f"expected the same"
        )
    reserved = split_pieces(data.splits, "reserved")
    key = f"data.statistics_from: training period of {data.statistics_from}"
    for piece in day_pieces(key, store.attributes["statistics_days"]):
        check_apart(key, piece, reserved, "data.splits.reserved", data.splits.gap)
    return store


def _check_periods(periods: Mapping[str, Period], time: np.ndarray, step: float) -> None:
    """Refuse a piece of a split without data now rather than when it is first used."""
    for name, period in periods.items():
        for days in period.pieces:
            piece = Period(name, (days,))
            if not piece.contains(time).any():
                raise UserError(
                    f"data.splits.{name}: the source has no data from {piece}; it has "
                    f"{iso_date(time[0])} to {iso_date(time[-1])}{describe_gaps(time, step)}"
                )


def _training_period(data: DataConfig, periods: Mapping[str, Period]) -> Period:
    if "train" not in periods:
        raise UserError(
            "data.splits.train: no days given, expected the training period, or a store with "
            "statistics under data.statistics_from"
        )
    for key, source in data.inputs:
        if source.absent:
            raise UserError(
                f"{key}.absent: {source.absent[0]} is missing, so its statistics cannot be "
                f"computed; set data.statistics_from to a store that has the channel"
            )
    return periods["train"]
