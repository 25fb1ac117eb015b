"""Pixels of level 2, averaged in the cells of a grid: superobservations of each UTC day.

Pixels are rows with `time`, `latitude`, `longitude`, `value` and, where it is stated, `error`. A
pixel without a value, or with a code for it, is missing; one without a position or time, with a
value out of range or an error that is none is left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import xarray as xr

from data_modules.sources.canonical.axes import DIMENSIONS
from data_modules.sources.canonical.layouts import VariableLayout, find_unit
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.imagery.images import ImageDays, Record, averaged
from data_modules.sources.imagery.regular import find_image, other_units
from data_modules.sources.readers.names import name_axes, state_units
from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.sources.stations.reports.columns import no_numbers, numbers, utc_times
from data_modules.sources.stations.reports.ranges import RANGES
from data_modules.tables.columns import position_rules, refuse_missing
from slams.calendar.days import days_since_epoch
from slams.calendar.steps import step_of_value
from slams.config.schema import SatelliteConfig
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.image_cells import ImageGrid
from slams.variables import find_variable

__all__ = ["PixelCells", "cells_of_pixels", "is_swath", "swath_pixels", "table_pixels"]

_REQUIRED = ("time", "latitude", "longitude", "value")
_COLUMNS = (*_REQUIRED, "error")


def is_swath(dataset: xr.Dataset) -> bool:
    """Return whether a dataset has two-dimensional positions, or one position per value."""
    places = [
        dataset[name]
        for one in ("latitude", "longitude")
        for name in DIMENSIONS[one]
        if name in dataset.variables
    ]
    if not places or not places[0].ndim or places[0].name in dataset.dims:
        return False
    dims = {place.dims for place in places}
    # One dimension for each of the two is a grid's (`canonical.axes.grid_dimensions`).
    return len(dims) == 1 or any(len(one) > 1 for one in dims)


def cells_of_pixels(satellite: SatelliteConfig, grid: LatLonGrid) -> ImageGrid:
    """Return the grid whose cells pixels are averaged in.

    Args:
        satellite: The recipe's section, `source.cell` and `footprint`.
        grid: The grid of the fields.

    Raises:
        UserError: The footprint does not divide the grid.
    """
    cell = satellite.source.cell
    if not cell:
        return ImageGrid.of_blocks(grid, satellite.footprint)
    rows = round(180 / cell)
    latitude = 90 - 180 / rows * (torch.arange(rows, dtype=torch.float64) + 0.5)
    longitude = 180 / rows * (torch.arange(2 * rows, dtype=torch.float64) + 0.5)
    return ImageGrid.of_rows(latitude, longitude, 180 / rows)


def swath_pixels(
    dataset: xr.Dataset, channel: FieldSpec, variable: str, reading: Reading
) -> pd.DataFrame:
    """Return the pixels of a swath: values with the positions of each, times of each or of scans.

    Args:
        dataset: The dataset, such as `olr(scan, pixel)` with `latitude`, `longitude`.
        channel: The channel that it shows.
        variable: Name of the variable; "" finds the usual ones.
        reading: What is requested; repairs are recorded.

    Raises:
        UserError: The variable, a position or a time is missing, or its units are not those of
            a flux.
    """
    positions = [n for names in DIMENSIONS.values() for n in names if n in dataset.variables]
    # As data variables, positions are not mistaken for axes.
    dataset = name_axes(dataset.set_coords(positions), reading).reset_coords()
    name = find_image(dataset, channel, variable, reading)
    array = state_units(dataset, name, channel.variable, reading)[name]
    unit, spelled, _ = find_unit(
        array.attrs["units"], VariableLayout(name), channel.units, reading
    )
    if unit.amount:
        raise reading.fault(f"{name!r} has units {spelled!r}, expected a flux in W m-2")
    parts = {"value": array * unit.factor + unit.offset}
    if "error" in dataset:
        parts["error"] = dataset["error"] * unit.factor
    for one in ("time", "latitude", "longitude"):
        if one not in dataset:
            raise reading.fault(f"{name!r} has no {one}, expected one for each pixel or scan")
        parts[one] = dataset[one]
        if not set(dataset[one].dims) <= set(array.dims):
            raise reading.fault(
                f"{one} has dimensions {dataset[one].dims}, {name!r} {array.dims}; expected those "
                f"of the pixels"
            )
    if parts["time"].dtype.kind != "M":
        raise reading.fault("time could not be decoded into dates; check its units")
    return pd.DataFrame(
        {
            one: np.asarray(part.broadcast_like(array).transpose(*array.dims).values).reshape(-1)
            for one, part in parts.items()
        }
    )


def table_pixels(
    table: pd.DataFrame, channel: FieldSpec, where: str, left_out: Accounting
) -> pd.DataFrame:
    """Return the pixels of a table, times and numbers of any type.

    Args:
        table: Columns `time`, `latitude`, `longitude`, `value` (W m-2) and optionally `error`,
            and `variable`, by which rows are chosen.
        channel: The channel that they show.
        where: Name of the table, for messages.
        left_out: Account of pixels whose value or error is no number.

    Raises:
        UserError: A column is missing.
    """
    refuse_missing(table, _REQUIRED, ("error", "variable"), where)
    if "variable" in table:
        names = table["variable"].astype(str)
        shown = {name: find_variable(name) == channel.variable for name in names.unique()}
        table = table[names.map(shown).to_numpy(dtype=bool)]
    for name in {"value", "error"} & set(table):
        table = left_out.keep(
            table,
            ~no_numbers(table[name]),
            f"{name} no number",
            lambda row, name=name: f"pixel {row.name} has {name} {row[name]!r}",
        )
    found = {"time": utc_times(table["time"])}
    return pd.DataFrame(found | {n: numbers(table[n]) for n in _COLUMNS[1:] if n in table})


class PixelCells:
    """Images of the means of pixels in cells.

    Args:
        grid: The grid of the cells.
        channel: The channel that the pixels show.
        satellite: The recipe's section, for the error where none is stated.
        record: Account of what is left out and used.
        step: Length (days) of the steps that images are of.
        instant: Whether they are compared with instants, see `slams.calendar.steps`.
    """

    several = True

    def __init__(
        self,
        grid: ImageGrid,
        channel: FieldSpec,
        satellite: SatelliteConfig,
        record: Record,
        step: float = 1.0,
        instant: bool = False,
    ) -> None:
        self._step = (step, instant)
        self.grid, self.record = grid, record
        self._channel, self._satellite = channel, satellite
        self._sums: dict[float, np.ndarray] = {}

    @property
    def days(self) -> np.ndarray:
        """Return the days with a pixel, `(N,)` int64 since 1970-01-01, or times of steps."""
        return np.array(sorted(self._sums), dtype=np.int64 if self._step[0] == 1 else np.float64)

    def add(self, pixels: pd.DataFrame, first: float, last: float, reading: Reading) -> int:
        """Add pixels of some days to the sums of their cells.

        Args:
            pixels: Columns `time`, `latitude`, `longitude`, `value` and optionally `error`.
            first: First day, days since 1970-01-01.
            last: Last day, inclusive; pixels of other days are not used.
            reading: What is requested, for messages.

        Returns:
            The number of pixels of other days.

        Raises:
            UserError: No pixel may be left out.
        """
        good = self._good(pixels, reading)
        since = days_since_epoch(good["time"].to_numpy())
        day = step_of_value(since, *self._step)
        inside = (day >= first) & (day < last + 1)
        good, since, day = good[inside], since[inside], day[inside]
        hour, cell = (since - day) * 24, self._cell(good)
        error = good["error"].to_numpy()
        summed = (good["value"].to_numpy(), error**2, error, hour, np.ones(len(good)))
        size = self.grid.shape[0] * self.grid.shape[1]
        for one in np.unique(day):
            mine = day == one
            sums = [np.bincount(cell[mine], x[mine], minlength=size) for x in summed]
            self._sums[float(one)] = self._sums.get(float(one), 0.0) + np.stack(sums)
        self.record.used += len(good)
        return int((~inside).sum())

    def read(self, days: Sequence[int]) -> ImageDays:
        """Return the images of some days, see `imagery.images.Imagery`."""
        nothing = np.zeros((5, self.grid.shape[0] * self.grid.shape[1]))
        sums = np.stack([self._sums.get(float(day), nothing) for day in days], axis=1)
        return averaged(*sums.reshape(5, len(days), *self.grid.shape), self._satellite)

    def _good(self, pixels: pd.DataFrame, reading: Reading) -> pd.DataFrame:
        """Return the pixels that can be used, with the recipe's error where none is stated."""
        rows = pixels.assign(error=pixels.get("error", np.nan))
        rows = rows[rows["value"].notna()].reset_index(drop=True)
        if len(rows):
            self.record.judge(other_units(rows["value"].to_numpy(), self._channel, reading))
        low, high = RANGES.get(self._channel.variable, (-np.inf, np.inf))
        rules = position_rules(rows) | {
            "value": (rows["value"].between(low, high), f"{low:g} to {high:g}"),
            "error": (
                rows["error"].isna() | rows["error"].between(1e-6, 1e6),
                "a positive finite number, or none",
            ),
        }
        for name, (fits, expected) in rules.items():
            rows = self.record.left_out.keep(
                rows,
                fits[rows.index],
                f"{name} out of range" if name != "time" else "no time",
                lambda row, name=name, expected=expected: (
                    f"pixel {row.name} has {name} {row[name]}, expected {expected}"
                ),
            )
        return rows.assign(error=rows["error"].fillna(self._satellite.error))

    def _cell(self, pixels: pd.DataFrame) -> np.ndarray:
        """Return the cell of each pixel, `(n,)` int64 in row order."""
        grid = self.grid
        inner = -grid.bounds.numpy()[1:-1]
        row = np.searchsorted(inner, -pixels["latitude"].to_numpy(), side="right")
        west = float(grid.longitude[0]) - grid.spacing / 2
        column = np.floor((pixels["longitude"].to_numpy() - west) / grid.spacing).astype(np.int64)
        return row * grid.shape[1] + column % grid.shape[1]
