"""What a preparation is going to do: the source opened and checked, nothing written yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from data_modules.periods import Period, split_periods
from data_modules.regridding import Regridder
from data_modules.sources import open_source
from data_modules.stores import TrainingStore, iso_date
from data_modules.target_grid import dataset_grid, target_grid
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.schema import Config, DataConfig

__all__ = ["Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """Holds what a preparation is going to do; the source is open and checked, nothing written.

    Attributes:
        source: Canonical dataset.
        channels: The channels of the store, in order.
        grid: The grid of the store.
        regridder: From the source's grid to it.
        time: `(N,)` days since 1970-01-01 00 UTC.
        train: The training period, or `None` when statistics come from another store.
        statistics_from: That store, or `None`.
    """

    source: xr.Dataset
    channels: tuple[FieldSpec, ...]
    grid: LatLonGrid
    regridder: Regridder
    time: np.ndarray
    train: Period | None
    statistics_from: TrainingStore | None

    def describe(self) -> str:
        """Says in a few lines what will be written."""
        size = len(self.time) * len(self.channels) * self.grid.shape[0] * self.grid.shape[1] * 4
        lines = [
            f"{len(self.time)} steps from {iso_date(self.time[0])} to {iso_date(self.time[-1])}",
            f"{len(self.channels)} channels: {', '.join(c.name for c in self.channels)}",
            f"grid {self.grid.shape[0]} x {self.grid.shape[1]}"
            + ("" if self.regridder.identity else f", regridded ({self.regridder.method})"),
            f"{size / 1e6:.0f} MB before compression",
        ]
        return "\n".join(lines + [f"repaired: {r}" for r in self.source.attrs["repairs"]])


def plan(config: Config) -> Plan:
    """Opens the source and checks that the recipe can be prepared from it.

    Raises:
        UserError: Source, channels, grid or splits are not right.
    """
    data = config.data
    channels = tuple(FieldSpec.parse(name) for name in data.channels)
    for key in ("absent", "gaps"):
        for name in getattr(data.source, key):
            if name not in data.channels:
                raise UserError(f"data.source.{key}: {name!r} is not among data.channels")
    source = open_source(data.source, channels)
    grid = target_grid(data.source, source)
    time = source["time"].values.astype(np.float64)
    train, statistics = None, None
    if data.statistics_from:
        statistics = _statistics_store(data, grid)
    else:
        _check_periods(data, time)
        train = _training_period(data)
    regridder = Regridder(dataset_grid(source), grid, data.source.regrid)
    return Plan(source, channels, grid, regridder, time, train, statistics)


def _statistics_store(data: DataConfig, grid: LatLonGrid) -> TrainingStore:
    store = TrainingStore.open(data.statistics_from, data.channels)
    if store.grid.fingerprint != grid.fingerprint:
        raise UserError(
            f"data.statistics_from: {data.statistics_from} has a grid of {store.grid.shape}, the "
            f"store to prepare one of {grid.shape}, expected the same; write data.source.grid: "
            f"{data.statistics_from}"
        )
    return store


def _check_periods(data: DataConfig, time: np.ndarray) -> None:
    """Refuses a split without data now, and not when it is first used."""
    for name, period in split_periods(data.splits, data.window).items():
        if not period.contains(time).any():
            raise UserError(
                f"data.splits.{name}: the source has no data from {period}; it holds "
                f"{iso_date(time[0])} to {iso_date(time[-1])}"
            )


def _training_period(data: DataConfig) -> Period:
    periods = split_periods(data.splits, data.window)
    if "train" not in periods:
        raise UserError(
            "data.splits.train: no days given, expected the training period, or a store with "
            "statistics under data.statistics_from"
        )
    if data.source.absent:
        raise UserError(
            f"data.source.absent: {data.source.absent[0]} has no statistics of its own; name a "
            f"store that has it under data.statistics_from"
        )
    return periods["train"]
