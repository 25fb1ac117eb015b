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
from slams.config.schema import SatelliteConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.runtime.ranks import say

__all__ = ["describe_imagery", "write_imagery"]

_BESIDE = ("satellite_counts", "satellite_hours")


def describe_imagery(satellite: SatelliteConfig, grid: LatLonGrid, time: np.ndarray) -> str:
    """Return a line about the images that would be written.

    Args:
        satellite: The recipe's section `observations.satellite`, with a `source`.
        grid: The grid of the store.
        time: `(N,)` days of the store, since 1970-01-01.

    Raises:
        UserError: The files are missing, have another layout or no image of these days.
    """
    found = _open(satellite, grid, time)
    rows, columns = found.grid.shape
    number = int(np.isin(np.floor(time), found.days).sum())
    lines = [f"imagery: {rows} x {columns} cells, images on {number} of {len(time)} days"]
    return "\n".join(lines + [f"repaired: imagery: {note}" for note in found.record.notes])


def write_imagery(job: Job, work: Plan, group: zarr.Group) -> None:
    """Write the images of a recipe's files, with a record of what was left out.

    Values and errors are in channel units, NaN in gaps and on days without an image.

    Args:
        job: The preparation.
        work: Its plan, with the channels, grid and time axis of the store.
        group: The store.

    Raises:
        UserError: The files cannot be read, too much of them cannot be used, no day of the store
            has an image, or the store has several steps per day.
    """
    satellite = job.observations.satellite
    channel = FieldSpec.parse(satellite.channel)
    found = _open(satellite, work.grid, work.time)
    names = ("satellite", ERRORS, *(_BESIDE if found.several else ()))
    arrays = create_images(group, channel, found.grid, len(work.time), names)
    days = np.floor(work.time).astype(np.int64)
    # Whole files, each written once.
    steps = arrays["satellite"].shards[0]
    for start in range(0, len(days), steps):
        images = found.read(days[start : start + steps])
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


def _open(satellite: SatelliteConfig, grid: LatLonGrid, time: np.ndarray) -> Imagery:
    days = np.floor(time).astype(np.int64)
    if len(np.unique(days)) != len(days):
        raise UserError(
            "observations.satellite.source: the store has several steps per day, expected one "
            "(data.step: 24h); images from files are averaged over the UTC day"
        )
    first, last = (np.datetime64(int(day), "D") for day in (days[0], days[-1]))
    return open_imagery(satellite, grid, first, last)
