"""Images on a regular latitude-longitude grid in a dataset, and their means over days.

The grid may be regional. Archives repeat the one value at a pole along the whole row: its cells
then share one error, so that their error is multiplied by the square root of their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from data_modules.sources.canonical.daily import decode_days
from data_modules.sources.canonical.layouts import VariableLayout, find_unit
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.imagery.images import ImageDays, Record, averaged
from data_modules.sources.imagery.layout import (
    covered_times,
    plain_image,
    regular_axes,
    stated_error,
)
from data_modules.sources.readers.names import find_name, name_axes, state_units
from data_modules.sources.stations.reports.ranges import RANGES
from slams.calendar.days import iso_date
from slams.calendar.steps import step_of_value
from slams.config.schema import SatelliteConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.observations.image_cells import ImageGrid

__all__ = [
    "RegularImages",
    "days_of_images",
    "faults_of",
    "find_image",
    "open_regular",
    "other_units",
]

_POLE = 90 - 1e-3


@dataclass(frozen=True)
class RegularImages:
    """Images on a regular grid, read when they are needed.

    Attributes:
        channel: The channel that they show.
        grid: Their grid.
        time: `(N,)` days since 1970-01-01 00 UTC, increasing; `None` for one image without time.
            The middle of what a value covers where the file has bounds, see `covered_times`.
    """

    channel: FieldSpec
    grid: ImageGrid
    time: np.ndarray | None
    _array: xr.DataArray
    _error: xr.DataArray | None
    _order: np.ndarray
    _place: tuple[np.ndarray, np.ndarray]
    _factor: float
    _offset: float
    _reading: Reading

    def read(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Read some steps: values and errors, `(n, y, x)` float64 in canonical units.

        Args:
            steps: Positions on `time`.

        Returns:
            Values, NaN in gaps, and the errors that the file states, or `None`.

        Raises:
            UserError: The one error of all values is not a positive finite number.
        """
        values = self._take(self._array, steps) * self._factor + self._offset
        if self._error is None:
            return values, None
        stated = self._error
        if stated.ndim:
            return values, self._take(stated, steps) * self._factor
        error = float(stated) * self._factor
        if not 0 < error < np.inf:
            raise self._reading.fault("found an error that is not a positive finite number")
        return values, np.full(values.shape, error)

    def _take(self, array: xr.DataArray, steps: np.ndarray) -> np.ndarray:
        rows, columns = self._place
        found = array.isel(time=np.asarray(self._order)[steps]).values
        return np.asarray(found, np.float64)[:, rows][:, :, columns]


def find_image(dataset: xr.Dataset, channel: FieldSpec, variable: str, reading: Reading) -> str:
    """Return the name of the imagery of a channel in a dataset.

    Args:
        dataset: A dataset with canonical names of dimensions.
        channel: The channel.
        variable: Name in the recipe; "" finds it by its own, a short or its standard name.
        reading: What is requested, for messages.

    Raises:
        UserError: It is not there.
    """
    found = variable or find_name(dataset, channel.variable, reading)
    if found is None or found not in dataset:
        there = ", ".join(map(str, dataset.data_vars)) or "nothing"
        raise reading.fault(f"found imagery of {there}, expected {variable or channel.variable}")
    return found


def open_regular(
    dataset: xr.Dataset, channel: FieldSpec, variable: str, reading: Reading
) -> RegularImages:
    """Find the imagery of a channel in a dataset.

    Args:
        dataset: The dataset, with decoded times.
        channel: The channel that the imagery shows.
        variable: Name of the variable; "" finds the usual ones.
        reading: What is requested; repairs are recorded.

    Raises:
        UserError: There is no imagery of the channel, its grid is not regular, its units are not
            those of a flux, or its times cannot be decoded.
    """
    dataset = name_axes(dataset, reading)
    name = find_image(dataset, channel, variable, reading)
    array = plain_image(state_units(dataset, name, channel.variable, reading)[name], reading)
    unit, spelled, _ = find_unit(
        array.attrs["units"], VariableLayout(name), channel.units, reading
    )
    if unit.amount:
        raise reading.fault(f"{name!r} has units {spelled!r}, expected a flux in W m-2")
    error = stated_error(dataset, array, reading)
    time, order = None, np.arange(array.sizes["time"])
    if "time" in array.coords:
        stamps, order = decode_days(array.to_dataset(), reading)
        back = np.argsort(order)
        covered, note = covered_times(dataset, stamps[back])
        time = covered[order]
        reading.repairs.extend([note] if note else [])
    elif array.sizes["time"] > 1:
        raise reading.fault("found several steps without times, expected dates")
    rows, columns, spacing = regular_axes(array, reading)
    grid = ImageGrid.of_rows(torch.from_numpy(rows[0]), torch.from_numpy(columns[0]), spacing)
    place = (rows[1], columns[1])
    return RegularImages(
        channel, grid, time, array, error, order, place, unit.factor, unit.offset, reading
    )


def days_of_images(
    images: RegularImages,
    days: Sequence[float],
    satellite: SatelliteConfig,
    record: Record,
    step: float = 1.0,
    instant: bool = False,
) -> ImageDays:
    """Average the times of days, or steps; values or errors out of range are left out and counted.

    Args:
        images: The images.
        days: `n` days since 1970-01-01, or times of steps; one without an image is a gap.
        satellite: The recipe's section, for the error where none is stated.
        record: Account of what is left out and used.
        step: Length of a step (days).
        instant: Whether images are compared with instants, see `slams.calendar.steps`.

    Raises:
        UserError: The one error of all values is invalid, or no value may be left out.
    """
    shape = (len(days), *images.grid.shape)
    sums = [np.zeros(shape) for _ in range(5)]
    time = np.array([float(days[0])]) if images.time is None else images.time
    for number, day in enumerate(days):
        steps = np.flatnonzero(step_of_value(time, step, instant) == day)
        if not len(steps):
            continue
        values, errors = images.read(steps)
        if np.isfinite(values).any():
            record.judge(other_units(values, images.channel, images._reading))
        values = _usable(values, errors, images, day, record)
        known = np.isfinite(values)
        if errors is None:
            errors = np.full(values.shape, satellite.error)
        errors = np.where(np.isfinite(errors), errors, satellite.error)
        errors = errors * _repeated(values, images.grid)
        hours = np.broadcast_to((time[steps] - day)[:, None, None] * 24, values.shape)
        for total, one in zip(sums, (values, errors**2, errors, hours, 1.0), strict=True):
            total[number] = np.where(known, one, 0.0).sum(axis=0)
        record.used += int(known.sum())
    return averaged(*sums, satellite)


def other_units(values: np.ndarray, channel: FieldSpec, reading: Reading) -> UserError | None:
    """Return the fault of values whose median is out of range, otherwise `None`.

    Args:
        values: Values in canonical units, NaN in gaps, at least one of them known.
        channel: The channel.
        reading: What is requested, for messages.
    """
    low, high = RANGES.get(channel.variable, (-np.inf, np.inf))
    middle = float(np.median(values[np.isfinite(values)]))
    if low <= middle <= high:
        return None
    return reading.fault(
        f"the median of {channel.variable} is {middle:g}, expected {low:g} to {high:g} "
        f"{channel.units}; check its units, its sign and its fill value"
    )


def faults_of(
    values: np.ndarray, errors: np.ndarray | None, channel: FieldSpec
) -> dict[str, np.ndarray]:
    """Return which values cannot be used, by reason, `(n, y, x)` bool each.

    Args:
        values: `(n, y, x)` values in canonical units, NaN in gaps.
        errors: `(n, y, x)` standard deviations of their errors, NaN where none is stated.
        channel: The channel.
    """
    low, high = RANGES.get(channel.variable, (-np.inf, np.inf))
    known = np.isfinite(values)
    wrong = known & ((values < low) | (values > high))
    found = {"value out of range": wrong}
    if errors is not None:
        fits = np.isnan(errors) | ((errors > 0) & np.isfinite(errors))
        found["error out of range"] = known & ~wrong & ~fits
    return found


def _usable(
    values: np.ndarray,
    errors: np.ndarray | None,
    images: RegularImages,
    day: float,
    record: Record,
) -> np.ndarray:
    """Return values with those that cannot be used as gaps, which are counted."""
    channel = images.channel
    low, high = RANGES.get(channel.variable, (-np.inf, np.inf))
    for why, wrong in faults_of(values, errors, channel).items():
        if not wrong.any():
            continue
        step, row, column = np.argwhere(wrong)[0]
        expected = f"{channel.variable} {values[step, row, column]:g}", f"{low:g} to {high:g}"
        if errors is not None and why.startswith("error"):
            expected = f"an error of {errors[step, row, column]:g}", "a positive finite number of"
        record.left_out.add(
            why,
            int(wrong.sum()),
            f"{iso_date(day)} has {expected[0]} at {float(images.grid.latitude[row]):g}, "
            f"{float(images.grid.longitude[column]):g}, expected {expected[1]} {channel.units}",
        )
        values = np.where(wrong, np.nan, values)
    return values


def _repeated(values: np.ndarray, grid: ImageGrid) -> np.ndarray:
    """Return the factor of errors in rows at a pole that repeat one value, `(n, y, 1)`."""
    factor = np.ones((*values.shape[:2], 1))
    for row in np.flatnonzero(np.abs(grid.latitude.numpy()) > _POLE):
        for step, line in enumerate(values[:, row]):
            known = line[np.isfinite(line)]
            if len(known) > 1 and (known == known[0]).all():
                factor[step, row] = np.sqrt(len(known))
    return factor
