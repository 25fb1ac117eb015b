"""Observations of one day from an image: outgoing longwave radiation on a regular grid.

The image may be regional, has gaps (NaN), and may have several times, of which those of the day
are averaged. Its pixels are averaged over the cells of the model's grid by shared area, and these
by the recipe's footprint operator: `sum_i h_i t_i / sum_i h_i k_i`, with `h_i` the weights of a
footprint, `t_i` the area mean over cell `i` with gaps as zero and `k_i` the known share of the
cell. A footprint of which less than half is known has no value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from data_modules.given.found import NOT_A_CHANNEL, OUTSIDE, Given
from data_modules.given.names import find_name, name_axes, state_units
from data_modules.observing.observers import SatelliteObserver
from data_modules.preparation.regridding import AreaSums, known_mean
from data_modules.sources.canonical.axes import coordinate_values
from data_modules.sources.canonical.daily import decode_days
from data_modules.sources.canonical.layouts import VariableLayout, find_unit
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.stations.reports.ranges import RANGES
from slams.calendar.days import day_of
from slams.config.schema import SatelliteConfig, SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec, ObservationOperator
from slams.grid import LatLonGrid
from slams.normalisation import TRANSFORMS

__all__ = ["observe_image"]

_DIMENSIONS = ("time", "latitude", "longitude")
# Tolerance for the spacing of longitudes, as a share of it.
_REGULAR = 0.01


def observe_image(
    image: xr.DataArray | xr.Dataset,
    where: str,
    day: float,
    satellite: SatelliteConfig,
    channels: tuple[FieldSpec, ...],
    grid: LatLonGrid,
) -> Given:
    """Convert an image to the observations of one day, see `given.observations`.

    Args:
        image: The variable of `satellite.channel`, by its own, a short or its standard name, or a
            DataArray without a name. An attribute `error` (a number), or a variable `error` of a
            dataset (same dimensions), replaces the recipe's standard deviation of the error.
        where: Name of the image, for messages.
        day: Days since 1970-01-01, a whole number.
        satellite: The recipe's section `observations.satellite`.
        channels: The `C` channels of the model.
        grid: The grid of the model.

    Raises:
        UserError: The image is not one of this variable, has an irregular grid, unknown units,
            values out of range, an invalid error, or no time on the day.
    """
    spec = FieldSpec.parse(satellite.channel)
    name = f"satellite/{spec.name}"
    reading = Reading(SourceConfig(kind="cf", path=where), (spec,), "", label=where)
    if isinstance(image, xr.DataArray):
        image = image.to_dataset(name=image.name or spec.variable)
    dataset = name_axes(image, reading)
    found = find_name(dataset, spec.variable, reading)
    if found is None:
        there = ", ".join(map(str, dataset.data_vars)) or "nothing"
        raise UserError(f"{where}: found imagery of {there}, expected {spec.variable}")
    array = _plain(state_units(dataset, found, spec.variable, reading)[found], where)
    unit, spelled, _ = find_unit(array.attrs["units"], VariableLayout(found), spec.units, reading)
    if unit.amount:
        raise UserError(f"{where}: {found!r} has units {spelled!r}, expected a flux in W m-2")
    error = _error(dataset, array, where)
    steps, notes = _steps_of(array, day, reading)
    values = np.asarray(array.values, np.float64) * unit.factor + unit.offset
    points = np.isfinite(values).sum(axis=(1, 2))
    own = {"given": int(points.sum())}
    if points.sum() > points[steps].sum():
        own[OUTSIDE] = int(points.sum() - points[steps].sum())
    values = values[steps]
    if spec.name not in {c.name for c in channels}:
        own[NOT_A_CHANNEL] = int(points[steps].sum())
        return Given((), {name: {**own, "used": 0}}, (f"{name}: {NOT_A_CHANNEL}",))
    _refuse_other_units(values, spec, where)
    low, high = RANGES.get(spec.variable, (-np.inf, np.inf))
    wrong = (values < low) | (values > high)
    if wrong.any():
        own["range"] = int(wrong.sum())
        values[wrong] = np.nan
    transform = TRANSFORMS[spec.transform]
    if error is not None:
        error = transform.error(values, np.broadcast_to(error * unit.factor, array.shape)[steps])
    values = transform.forward_array(values)
    observer = SatelliteObserver(satellite, 0, channels, grid)
    operator = observer.operators[name]
    rows, columns, spacing = _axes(array, reading)
    sums = AreaSums(rows[0], columns[0], spacing, grid)
    index = [c.name for c in channels].index(spec.name)

    def footprints(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = _mean(pixels[:, rows[1]][..., columns[1]])
        return tuple(  # type: ignore[return-value]
            _observed(operator, plane, index, len(channels)) for plane in sums.parts(mean)
        )

    total, weight = footprints(values)
    seen = known_mean(total, weight)
    partly = int(((weight > 0) & ~np.isfinite(seen)).sum())
    if partly:
        own["footprints less than half covered"] = partly
    time = torch.full((1, 1), day, dtype=torch.float64)
    stored = torch.from_numpy(seen.astype(np.float32))[None, None]
    (one,) = observer.stored(stored, time)
    if error is not None:
        stated = known_mean(*footprints(np.where(np.isfinite(values), error, np.nan)))
        variance = torch.from_numpy(stated).square().to(one.error_variance)
        one = replace(
            one, error_variance=torch.where(one.mask, variance[None, None], one.error_variance)
        )
    used = int(one.mask.sum())
    counts = {name: {**own, "used": used}}
    return Given((one,) if used else (), counts, (*notes, *reading.repairs))


def _plain(array: xr.DataArray, where: str) -> xr.DataArray:
    """Return an array with dimensions time, latitude and longitude."""
    for name in ("latitude", "longitude"):
        if name not in array.dims:
            raise UserError(
                f"{where}: {array.name!r} has dimensions {', '.join(map(str, array.dims))}, "
                f"expected latitude and longitude; a site belongs into a table of reports"
            )
    single = [d for d in array.dims if d not in _DIMENSIONS and array.sizes[d] == 1]
    array = array.isel(dict.fromkeys(single, 0), drop=True)
    rest = [str(d) for d in array.dims if d not in _DIMENSIONS]
    if rest:
        raise UserError(
            f"{where}: {array.name!r} has the dimension {', '.join(rest)}, expected time, "
            f"latitude and longitude"
        )
    if "time" not in array.dims:
        array = array.expand_dims("time")
    return array.transpose(*_DIMENSIONS)


def _error(dataset: xr.Dataset, array: xr.DataArray, where: str) -> np.ndarray | None:
    """Return the standard deviations that the image states, or `None`."""
    if "error" in dataset.data_vars and not dataset["error"].dims:
        values = np.asarray(dataset["error"].values, np.float64)
    elif "error" in dataset.data_vars:
        error = _plain(dataset["error"], where)
        values = np.asarray(error.values, np.float64)
    elif "error" in array.attrs:
        try:
            values = np.asarray(float(array.attrs["error"]))
        except (TypeError, ValueError):
            values = np.asarray(-1.0)
    else:
        return None
    wrong = values[~(np.isnan(values) | ((values > 0) & np.isfinite(values)))]
    if wrong.size or not np.isfinite(values).any():
        raise UserError(f"{where}: found an error that is not a positive finite number")
    return values


def _steps_of(
    array: xr.DataArray, day: float, reading: Reading
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the positions of the steps of a day; all steps where the image has no time."""
    if "time" not in array.coords:
        if array.sizes["time"] > 1:
            raise reading.fault("found several steps without times, expected dates")
        return np.array([0]), (f"imagery: no time stated, taken as {day_of(day)}",)
    times, order = decode_days(array.to_dataset(), reading)
    mine = np.floor(times) == day
    if not mine.any():
        first, last = day_of(times[0]), day_of(times[-1])
        span = str(first) if first == last else f"{first} to {last}"
        raise reading.fault(f"the image is of {span}, expected one of {day_of(day)} (UTC)")
    notes = (f"imagery: mean of {mine.sum()} times of the day",) if mine.sum() > 1 else ()
    return order[mine], notes


def _refuse_other_units(values: np.ndarray, spec: FieldSpec, where: str) -> None:
    """Refuse an image without values, or whose median is out of range."""
    known = values[np.isfinite(values)]
    if not known.size:
        raise UserError(f"{where}: found no value on the day, expected an image with values")
    low, high = RANGES.get(spec.variable, (-np.inf, np.inf))
    middle = float(np.median(known))
    if not low <= middle <= high:
        raise UserError(
            f"{where}: the median of {spec.variable} is {middle:g}, expected {low:g} to {high:g} "
            f"{spec.units}; check its units, its sign and its fill value"
        )


def _axes(
    array: xr.DataArray, reading: Reading
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], float]:
    """Return latitudes and longitudes with their order in the image, and the spacing."""
    latitude, longitude = (
        coordinate_values(array, name, reading) for name in ("latitude", "longitude")
    )
    for name, values in (("latitude", latitude), ("longitude", longitude)):
        if len(values) < 2:
            raise reading.fault(f"found {len(values)} values of {name}, expected two or more")
    rows = np.argsort(-latitude, kind="stable")
    latitude = latitude[rows]
    if np.abs(latitude).max() > 90 + 1e-6 or (np.diff(latitude) > -1e-6).any():
        raise reading.fault("expected distinct latitudes within [-90, 90]")
    east = np.mod(longitude, 360.0)
    columns = np.argsort(east, kind="stable")
    gaps = np.diff(east[columns])
    columns = columns[np.concatenate([[True], gaps > 1e-6])]  # the meridians 0 and 360 are one
    east = east[columns]
    gaps = np.diff([*east, east[0] + 360.0])
    spacing = float(np.median(gaps))
    # One gap may be larger: the part of the globe outside the image.
    irregular = np.abs(gaps - spacing) > _REGULAR * spacing
    if irregular.sum() > 1 or gaps.min() < (1 - _REGULAR) * spacing:
        raise reading.fault("the longitudes are not equally spaced, expected a regular grid")
    return (latitude, rows), (east, columns), spacing


def _mean(steps: np.ndarray) -> np.ndarray:
    """Average `(n, H, W)` over the known steps, NaN where there are none."""
    known = np.isfinite(steps)
    count = known.sum(axis=0)
    total = np.where(known, steps, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _observed(
    operator: ObservationOperator, plane: np.ndarray, channel: int, channels: int
) -> np.ndarray:
    """Apply the linear part of `H` to one channel `(H, W)`, the others being zero: `(P,)`."""
    state = torch.zeros(channels, *plane.shape, dtype=torch.float64)
    state[channel] = torch.from_numpy(plane)
    return operator.linear(state).numpy()
