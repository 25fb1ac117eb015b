"""Observations of one day from imagery that a user gives: on a regular grid, or pixels.

With a recipe that reads imagery from files, an image is observed as `slams prepare` does: on its
own grid, by the same code (`sources.imagery`). With one that draws imagery, it is observed by the
recipe's footprints: its pixels are averaged over the cells of the model's grid by shared area, and
these by the footprint operator, `sum_i h_i t_i / sum_i h_i k_i`, with `h_i` the weights of a
footprint, `t_i` the area mean over cell `i` with gaps as zero and `k_i` the known share of the
cell. A footprint of which less than half is known has no value.

The image may be regional, has gaps (NaN), and may have several times, of which those of the day
are averaged. Pixels (`olr(scan, pixel)` with the positions of each) are averaged in cells, in both
cases.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from data_modules.given.found import NOT_A_CHANNEL, OUTSIDE, Given
from data_modules.observing.images import ImageObserver
from data_modules.observing.observers import SatelliteObserver
from data_modules.preparation.regridding import AreaSums, known_mean
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.imagery.images import ImageDays, Record, in_channel_units
from data_modules.sources.imagery.pixels import (
    PixelCells,
    cells_of_pixels,
    is_swath,
    swath_pixels,
)
from data_modules.sources.imagery.regular import (
    RegularImages,
    days_of_images,
    faults_of,
    open_regular,
    other_units,
)
from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.store.steps import DAYS, Steps
from slams.calendar.days import iso_date
from slams.calendar.steps import step_of_value
from slams.config.schema import SatelliteConfig, SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec, ObservationOperator, Observations
from slams.grid import LatLonGrid
from slams.normalisation import TRANSFORMS
from slams.observations.image_cells import ImageGrid

__all__ = ["observe_image"]


def observe_image(
    image: xr.DataArray | xr.Dataset,
    where: str,
    day: float,
    satellite: SatelliteConfig,
    channels: tuple[FieldSpec, ...],
    grid: LatLonGrid,
    steps: Steps = DAYS,
) -> Given:
    """Convert an image to the observations of one day, see `given.observations`.

    Args:
        image: The variable of `satellite.channel`, by its own, a short or its standard name, or a
            DataArray without a name; pixels as a dataset. An attribute `error` (a number), or a
            variable `error` of a dataset (same dimensions), replaces the recipe's standard
            deviation of the error.
        where: Name of the image, for messages.
        day: Days since 1970-01-01, a whole number, or the time of a step.
        satellite: The recipe's section `observations.satellite`.
        channels: The `C` channels of the model.
        grid: The grid of the model.
        steps: The steps of the model.

    Raises:
        UserError: The image is not one of this variable, has an irregular grid, unknown units,
            values out of range, an invalid error, or no time on the day.
    """
    spec = FieldSpec.parse(satellite.channel)
    name = f"satellite/{spec.name}"
    reading = Reading(SourceConfig(kind="cf", path=where), (spec,), "", label=where)
    if isinstance(image, xr.DataArray):
        image = image.to_dataset(name=image.name or spec.variable)
    if is_swath(image):
        return _observe_pixels(image, day, satellite, channels, grid, reading, steps)
    images = open_regular(image, spec, satellite.source.variable, reading)
    step = (steps.length, spec.variable in steps.instants)
    times, notes = _times_of(images, day, reading, *step)
    every = np.arange(1 if images.time is None else len(images.time))
    known = [int(np.isfinite(images.read(part)[0]).sum()) for part in (every, times)]
    own = {"given": known[0]}
    if known[0] > known[1]:
        own[OUTSIDE] = known[0] - known[1]
    if spec.name not in {c.name for c in channels}:
        own[NOT_A_CHANNEL] = known[1]
        return Given((), {name: {**own, "used": 0}}, (f"{name}: {NOT_A_CHANNEL}",))
    if not known[1]:
        raise UserError(f"{where}: found no value on the day, expected an image with values")
    if satellite.source.kind:
        record = Record(Accounting(where, limit=1.0, what="values"))
        found = days_of_images(images, [day], satellite, record, *step)
        record.check()
        one = _in_cells(found, images.grid, day, satellite, channels, grid)
        own |= _left_out(record)
    else:
        one = _in_footprints(images, times, day, satellite, channels, grid, own, reading)
    return _given(one, own, (*notes, *reading.repairs))


def _observe_pixels(
    dataset: xr.Dataset,
    day: float,
    satellite: SatelliteConfig,
    channels: tuple[FieldSpec, ...],
    grid: LatLonGrid,
    reading: Reading,
    steps: Steps,
) -> Given:
    """Average pixels in cells, as the reader of pixels does."""
    (spec,) = reading.channels
    name = f"satellite/{spec.name}"
    record = Record(Accounting(reading.name, limit=1.0, what="pixels"))
    step = (steps.length, spec.variable in steps.instants)
    cells = PixelCells(cells_of_pixels(satellite, grid), spec, satellite, record, *step)
    pixels = swath_pixels(dataset, spec, satellite.source.variable, reading)
    own = {"given": int(pixels["value"].notna().sum())}
    outside = cells.add(pixels, day, day + steps.length - 1, reading)
    record.check()
    own |= _left_out(record) | ({OUTSIDE: outside} if outside else {})
    if spec.name not in {c.name for c in channels}:
        own[NOT_A_CHANNEL] = record.used
        return Given((), {name: {**own, "used": 0}}, (f"{name}: {NOT_A_CHANNEL}",))
    if not record.used:
        raise reading.fault(f"found no pixel of {iso_date(day)} (UTC), expected some")
    one = _in_cells(cells.read([day]), cells.grid, day, satellite, channels, grid)
    averaged = record.used - int(one.mask.sum())
    own |= {"averaged over the day": averaged} if averaged else {}
    return _given(one, own, tuple(reading.repairs))


def _given(one: Observations, own: dict[str, int], notes: tuple[str, ...]) -> Given:
    used = int(one.mask.sum())
    return Given((one,) if used else (), {one.name: {**own, "used": used}}, notes)


def _left_out(record: Record) -> dict[str, int]:
    return {one.why: one.number for one in record.left_out.records}


def _in_cells(
    images: ImageDays,
    image: ImageGrid,
    day: float,
    satellite: SatelliteConfig,
    channels: tuple[FieldSpec, ...],
    grid: LatLonGrid,
) -> Observations:
    """Return the image of one day on its own grid."""
    spec = FieldSpec.parse(satellite.channel)
    values, errors = (
        torch.from_numpy(x.reshape(1, 1, -1)) for x in in_channel_units(images, spec)
    )
    time = torch.full((1, 1), day, dtype=torch.float64)
    observer = ImageObserver(satellite, channels, grid, image)
    (one,) = observer.with_errors(values, errors, time)
    return one


def _in_footprints(
    images: RegularImages,
    steps: np.ndarray,
    day: float,
    satellite: SatelliteConfig,
    channels: tuple[FieldSpec, ...],
    grid: LatLonGrid,
    own: dict[str, int],
    reading: Reading,
) -> Observations:
    """Return the mean of some steps in the recipe's footprints; add to the counts `own`."""
    spec = images.channel
    values, error = images.read(steps)
    fault = other_units(values, spec, reading)
    if fault:
        raise fault
    for why, wrong in faults_of(values, error, spec).items():
        if wrong.any():
            own["range" if why.startswith("value") else why] = int(wrong.sum())
            values[wrong] = np.nan
    transform = TRANSFORMS[spec.transform]
    if error is not None:
        error = transform.error(values, error)
    values = transform.forward_array(values)
    observer = SatelliteObserver(satellite, 0, channels, grid)
    ((_, operator),) = observer.operators.items()
    image = images.grid
    sums = AreaSums(image.latitude.numpy(), image.longitude.numpy(), image.spacing, grid)
    index = [c.name for c in channels].index(spec.name)

    def footprints(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tuple(  # type: ignore[return-value]
            _observed(operator, plane, index, len(channels)) for plane in sums.parts(_mean(pixels))
        )

    total, weight = footprints(values)
    seen = known_mean(total, weight)
    partly = int(((weight > 0) & ~np.isfinite(seen)).sum())
    if partly:
        own["footprints less than half covered"] = partly
    time = torch.full((1, 1), day, dtype=torch.float64)
    stored = torch.from_numpy(seen.astype(np.float32))[None, None]
    (one,) = observer.stored(stored, time)
    if error is None:
        return one
    stated = known_mean(*footprints(np.where(np.isfinite(values), error, np.nan)))
    variance = torch.from_numpy(stated).square().to(one.error_variance)
    return replace(
        one, error_variance=torch.where(one.mask, variance[None, None], one.error_variance)
    )


def _times_of(
    images: RegularImages, day: float, reading: Reading, step: float, instant: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the positions of the times of a day, or step; the only one without a time."""
    if images.time is None:
        return np.array([0]), (f"imagery: no time stated, taken as {iso_date(day)}",)
    mine = np.flatnonzero(step_of_value(images.time, step, instant) == day)
    if not len(mine):
        first, last = (_date(images.time[place], step) for place in (0, -1))
        span = str(first) if first == last else f"{first} to {last}"
        raise reading.fault(f"the image is of {span}, expected one of {iso_date(day)} (UTC)")
    what = "day" if step == 1 else "step"
    notes = (f"imagery: mean of {len(mine)} times of the {what}",) if len(mine) > 1 else ()
    return mine, notes


def _date(time: float, step: float) -> str:
    return iso_date(np.floor(time) if step == 1 else time)


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
