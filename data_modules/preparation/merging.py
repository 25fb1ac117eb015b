"""Joining several sources of one training store, each with some channels, on their times.

A day is in the store when every source has it; other days are left out, counted and recorded.
Each source is regridded from its own grid to that of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import xarray as xr

from data_modules.preparation.blocks import check_block, read_block
from data_modules.preparation.regridding import Regridder
from data_modules.preparation.target_grid import dataset_grid, target_grid
from data_modules.sources import open_source
from data_modules.store.training_store import iso_date
from slams.calendar.days import day_number
from slams.config.schema import DataConfig, SourceConfig
from slams.config.splits import day_range
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.plugins.sources import SOURCES

__all__ = ["Part", "open_parts"]


@dataclass(frozen=True)
class Part:
    """One source, open and checked, and the channels and days used from it.

    Attributes:
        key: Its key in the recipe, `data.source` or `data.sources.N`.
        config: Its section of the recipe.
        dataset: Canonical dataset (see `sources.canonical`) with all its days.
        channels: The channels that it provides.
        place: Position of each of these channels in the store.
        regridder: Regridding from its grid to that of the store.
        steps: `(N,)` positions of the store's days on the source's time axis.
        left_out: Description of the days that the join left out; "" if there are none.
    """

    key: str
    config: SourceConfig
    dataset: xr.Dataset
    channels: tuple[FieldSpec, ...]
    place: tuple[int, ...]
    regridder: Regridder
    steps: np.ndarray
    left_out: str

    def read(self, start: int, stop: int, train: np.ndarray) -> np.ndarray:
        """Read, check and regrid days `[start, stop)` of the store.

        Args:
            start: Position of the first day on the store's time axis.
            stop: Position after the last day.
            train: `(n,)` bool, days of the training split.

        Returns:
            `(n, c, H, W)` float32 physical of `channels` on the store's grid, NaN missing.

        Raises:
            UserError: The source is damaged, or has values that are not allowed.
        """
        absent, path = self.config.absent, self.config.path
        # Consecutive steps are read in one piece, which is cheaper.
        steps = self.steps[start:stop]
        first, last = int(steps[0]), int(steps[-1]) + 1
        if last - first == len(steps):
            values = read_block(self.dataset, self.channels, first, last, absent, path)
        else:
            picked = self.dataset.isel(time=steps)
            values = read_block(picked, self.channels, 0, len(steps), absent, path)
        time = self.dataset["time"].values[steps]
        check_block(values, self.channels, time, train, absent, self.gaps, path, self.key)
        return self.regridder.fields(values)

    @property
    def record(self) -> dict[str, str]:
        """Return the origin of the channels, for the attributes of the store."""
        return {
            "kind": self.config.kind,
            "path": " ".join(self.config.files) or self.config.path,
            "origin": self.config.origin,
            "channels": ", ".join(c.name for c in self.channels),
            "regridding": "none" if self.regridder.identity else self.regridder.method,
            **{k: v for k, v in self.dataset.attrs.items() if isinstance(v, str)},
            **({"left_out": self.left_out} if self.left_out else {}),
        }

    @property
    def gaps(self) -> list[str]:
        """Return the channels that may have missing values, by the recipe or by the layout."""
        own = SOURCES.get(self.config.kind, f"{self.key}.kind").gaps
        named = [c.name for c in self.channels if c.variable in own]
        return list(dict.fromkeys([*self.config.gaps, *named]))

    @property
    def repairs(self) -> list[str]:
        """Return descriptions of the repairs made on opening."""
        made = list(self.dataset.attrs["repairs"])
        return made if self.key == "data.source" else [f"{self.config.path}: {r}" for r in made]


def open_parts(
    data: DataConfig, channels: Sequence[FieldSpec]
) -> tuple[tuple[Part, ...], LatLonGrid, np.ndarray]:
    """Open the sources of a recipe and join them.

    Args:
        data: The recipe's data.
        channels: The channels of the store, in order.

    Returns:
        The parts, the grid of the store, and its time axis `(N,)` days since 1970-01-01 00 UTC.

    Raises:
        UserError: A source cannot be opened, a channel is provided by no source or by two, or no
            day is in all of them.
    """
    shares = _shares(data, channels)
    period = _period(data)
    opened = []
    for (key, config), share in zip(data.inputs, shares, strict=True):
        own = [channels[i] for i in share]
        opened.append(open_source(config, own, period, key, data.step_days))
    first_key, first = data.inputs[0]
    grid = target_grid(first, opened[0], first_key)
    axes = [dataset["time"].values.astype(np.float64) for dataset in opened]
    time = reduce(np.intersect1d, axes)
    if not len(time):
        spans = "; ".join(
            f"{config.path} {iso_date(axis[0])} to {iso_date(axis[-1])}"
            for (_, config), axis in zip(data.inputs, axes, strict=True)
        )
        raise UserError(f"data.sources: no day is in all of them; found {spans}")
    parts = []
    for (key, config), share, dataset, axis in zip(data.inputs, shares, opened, axes, strict=True):
        regridder = Regridder(dataset_grid(dataset), grid, config.regrid, key)
        parts.append(
            Part(
                key=key,
                config=config,
                dataset=dataset,
                channels=tuple(channels[i] for i in share),
                place=tuple(share),
                regridder=regridder,
                steps=np.searchsorted(axis, time),
                left_out=_left_out(axis, time),
            )
        )
    return tuple(parts), grid, time


def _shares(data: DataConfig, channels: Sequence[FieldSpec]) -> list[list[int]]:
    """Return the positions of the channels that each source provides.

    Raises:
        UserError: A channel is unknown, or is not provided by exactly one source.
    """
    if not data.sources:
        return [list(range(len(channels)))]
    shares = []
    for key, config in data.inputs:
        for name in config.channels:
            if not any(name in (c.name, c.variable) for c in channels):
                raise UserError(f"{key}.channels: {name!r} is not among data.channels")
        named = set(config.channels)
        shares.append([i for i, c in enumerate(channels) if named & {c.name, c.variable}])
    for i, channel in enumerate(channels):
        keys = [key for (key, _), share in zip(data.inputs, shares, strict=True) if i in share]
        if not keys:
            raise UserError(
                f"data.channels: {channel.name} is provided by none of data.sources; add it to "
                f"the `channels` of one of them"
            )
        if len(keys) > 1:
            raise UserError(
                f"{keys[1]}.channels: {channel.name} is also provided by {keys[0]}; remove it "
                f"from one of them"
            )
    return shares


def _period(data: DataConfig) -> tuple[float, float] | None:
    """Return the first and the last day of the period, days since 1970-01-01."""
    days = day_range("data.period", data.period)
    if days is None:
        return None
    first, last = (float(day_number(day)) for day in days)
    return first, last


def _left_out(axis: np.ndarray, time: np.ndarray) -> str:
    """Describe the days of a source that are not in the store."""
    missing = np.setdiff1d(axis, time)
    if not len(missing):
        return ""
    inside = missing[(missing > time[0]) & (missing < time[-1])]
    text = f"{len(missing)} of {len(axis)} days, which another source lacks"
    if len(inside):
        text += (
            f"; {len(inside)} of them between {iso_date(time[0])} and {iso_date(time[-1])}, the "
            f"first {iso_date(inside[0])}"
        )
    return text
