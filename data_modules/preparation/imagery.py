"""Writing images from files into the training store."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import zarr

from data_modules.observing.images import ERRORS, create_images
from data_modules.preparation.job import Job
from data_modules.preparation.plan import Plan
from data_modules.sources.imagery import open_imagery
from data_modules.sources.imagery.images import Imagery, in_channel_units
from data_modules.store.steps import DAYS, Steps
from slams.calendar.days import iso_date
from slams.config.schema import SatelliteConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.image_cells import ImageGrid
from slams.runtime.ranks import say

__all__ = ["describe_imagery", "write_imagery"]

# Days that are read before anything is written, evenly spaced.
_SURVEYED = 5
_BESIDE = ("satellite_counts", "satellite_hours")


def describe_imagery(
    satellite: SatelliteConfig, grid: LatLonGrid, time: np.ndarray, steps: Steps = DAYS
) -> str:
    """Return lines about the images that would be written, of which some days are read.

    Args:
        satellite: The recipe's section `observations.satellite`, with a `source`.
        grid: The grid of the store.
        time: `(N,)` days of the store, since 1970-01-01, or its steps.
        steps: The steps of the store.

    Raises:
        UserError: The files are missing, have another layout, other units or no image of these
            days.
    """
    found = _open(satellite, grid, time, steps)
    rows, columns = found.grid.shape
    days = found.days[np.isin(found.days, _days(time, steps))]
    some = days[np.unique(np.linspace(0, len(days) - 1, _SURVEYED).round().astype(int))]
    values = found.read(some).values
    found.record.check_units()
    words = "days" if steps.length == 1 else "steps"
    lines = [
        f"imagery: {rows} x {columns} cells, images on {len(days)} of {len(time)} {words}; read "
        f"{', '.join(iso_date(day) for day in some)}:",
        _summary(values, found.grid, FieldSpec.parse(satellite.channel)),
        *found.record.lines(),
    ]
    return "\n".join(lines + [f"repaired: imagery: {note}" for note in found.record.notes])


def write_imagery(job: Job, work: Plan, group: zarr.Group, steps: Steps = DAYS) -> None:
    """Write the images of a recipe's files, with a record of what was left out.

    Values and errors are in channel units, NaN in gaps and on days without an image.

    Args:
        job: The preparation.
        work: Its plan, with the channels, grid and time axis of the store.
        group: The store.
        steps: The steps of the store.

    Raises:
        UserError: The files cannot be read, too much of them cannot be used, no day of the store
            has an image, or the store has several steps per day.
    """
    satellite = job.observations.satellite
    channel = FieldSpec.parse(satellite.channel)
    found = _open(satellite, work.grid, work.time, steps)
    names = ("satellite", ERRORS, *(_BESIDE if found.several else ()))
    arrays = create_images(group, channel, found.grid, len(work.time), names)
    days = _days(work.time, steps)
    # Whole files, each written once.
    length = arrays["satellite"].shards[0]
    for start in range(0, len(days), length):
        images = found.read(days[start : start + length])
        values, errors = in_channel_units(images, channel)
        written = {
            "satellite": values,
            ERRORS: errors,
            "satellite_counts": images.counts,
            "satellite_hours": images.hours,
        }
        for name, array in arrays.items():
            array[start : start + len(values)] = written[name][:, None]
    found.record.check()
    for line in found.record.lines():
        say(line)
    arrays["satellite"].attrs.update(
        {
            "used": found.record.used,
            "left_out": [asdict(one) for one in found.record.left_out.records],
            "notes": list(found.record.notes),
        }
    )


def _summary(values: np.ndarray, grid: ImageGrid, channel: FieldSpec) -> str:
    """Return the mean by area, the range and the gaps of images `(n, y, x)`, in words."""
    known = np.isfinite(values)
    if not known.any():
        return f"  {channel.variable}: no value on these days"
    sine = np.sin(np.deg2rad(grid.bounds.numpy()))
    area = np.broadcast_to((sine[:-1] - sine[1:])[:, None], values.shape)[known]
    seen = values[known]
    mean = float((seen * area).sum() / area.sum())
    return (
        f"  {channel.variable}: mean {mean:.4g} {channel.units}, from {seen.min():.4g} to "
        f"{seen.max():.4g}, gaps {1 - known.mean():.1%}"
    )


def _open(satellite: SatelliteConfig, grid: LatLonGrid, time: np.ndarray, steps: Steps) -> Imagery:
    days = _days(time, steps)
    if len(np.unique(days)) != len(days):
        raise UserError(
            "observations.satellite.source: the source of fields has several values per step, "
            "expected one; images are averaged over steps"
        )
    step, instant = steps.length, FieldSpec.parse(satellite.channel).variable in steps.instants
    # Of the first instant also what is within half a step before it.
    begin = int(np.floor(days[0] - (step / 2 if step < 1 and instant else 0)))
    first, last = (np.datetime64(int(np.floor(day)), "D") for day in (begin, days[-1]))
    return open_imagery(satellite, grid, first, last, step=step, instant=instant)


def _days(time: np.ndarray, steps: Steps) -> np.ndarray:
    """Return the days of times, or the times themselves where steps are shorter."""
    return np.floor(time).astype(np.int64) if steps.length == 1 else time
