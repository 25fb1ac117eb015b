"""Reader of images of OLR on a regular grid, daily or several a day, with gaps.

Layouts, all NetCDF with `time`, `lat`, `lon` in any order and direction, W m-2:

- NOAA interpolated OLR (https://psl.noaa.gov/data/gridded/data.interp_OLR.html) and uninterpolated
  OLR (https://psl.noaa.gov/data/gridded/data.uninterp_OLR.html): `olr.day.mean.nc`,
  `olr(time, lat 73: 90..-90, lon 144: 0..357.5)`, the pole's value repeated along its row; "hours
  since 1800-01-01"; int16 with scale, offset and missing 32766, or float32 with -9.96921e+36.
  Without interpolation, gaps are missing. `olr.2xdaily.*.nc`: two passes per day.
- HIRS OLR CDR daily: `olr`, 1 degree, 0.5..359.5; 180 rows in NCEI's `olr-daily_v01r02_*.nc`, 181
  from pole to pole in PSL's (https://psl.noaa.gov/data/gridded/data.olrcdr.interp.html).
- CERES SYN1deg and EBAF daily (https://ceres.larc.nasa.gov/data/): `toa_lw_all_daily(time,
  lat 180: -89.5..89.5, lon 360: 0.5..359.5)`, missing -999.

A value belongs to the UTC day of its time stamp, at 00, 12 or any other hour, or of the middle of
its time bounds; in a store with shorter steps, to the step. Several of a day or step are averaged.
Left out and counted: values out of range, such as a fill value that is not declared, and errors
that are none. Refused: a swath, accumulated units, times that occur twice, files of different
grids, no image of the days of the store, images further apart than the steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.opening import find_files, open_netcdf
from data_modules.sources.imagery.images import ImageDays, Record
from data_modules.sources.imagery.regular import RegularImages, days_of_images, open_regular
from data_modules.sources.stations.reports.accounting import Accounting
from slams.calendar.days import day_of, days_since_epoch
from slams.calendar.steps import describe_step, step_of_value
from slams.config.schema import SatelliteConfig, SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.image_cells import ImageGrid

__all__ = ["open_gridded_olr"]


class _Gridded:
    """Images of files, see `imagery.images.Imagery`."""

    def __init__(
        self,
        images: RegularImages,
        satellite: SatelliteConfig,
        days: np.ndarray,
        record: Record,
        step: float,
        instant: bool,
    ) -> None:
        self._images, self._satellite, self._step = images, satellite, (step, instant)
        self.grid: ImageGrid = images.grid
        self.days, self.record = days, record
        stamped = days if images.time is None else step_of_value(images.time, step, instant)
        self.several = len(stamped) > len(np.unique(stamped))

    def read(self, days: Sequence[int]) -> ImageDays:
        return days_of_images(self._images, days, self._satellite, self.record, *self._step)


def open_gridded_olr(
    satellite: SatelliteConfig,
    grid: LatLonGrid,
    first: np.datetime64,
    last: np.datetime64,
    key: str,
    step: float = 1.0,
    instant: bool = False,
) -> _Gridded:
    """Open images on a regular grid; they are read when they are needed.

    Args:
        satellite: The recipe's section `observations.satellite`.
        grid: The grid of the fields, not used: images stay on their own.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the source in the recipe, for messages.
        step: Length (days) of the steps of the store.
        instant: Whether the store holds instants of the channel.

    Raises:
        UserError: The files are missing or have another layout, or have no image of these days.
    """
    source, channel = satellite.source, FieldSpec.parse(satellite.channel)
    where = f"imagery {source.path}"
    config = SourceConfig(kind="cf", path=source.path)
    reading = Reading(config, (channel,), key, label=where)
    files = find_files(config, "NetCDF files of imagery", key)
    dataset = open_netcdf(files, key, reading.repairs)
    images = open_regular(dataset, channel, source.variable, reading)
    if images.time is None:
        raise reading.fault("found no time, expected dates")
    every = float(np.median(np.diff(images.time))) if len(images.time) > 1 else step
    if step < 1 and every > 1.01 * step:
        raise reading.fault(
            f"has an image every {every * 24:g} h, expected one at least every "
            f"{describe_step(step)} (data.step)"
        )
    days = np.unique(step_of_value(images.time, step, instant))
    days = days.astype(np.int64) if step == 1 else days
    bounds = [int(x) for x in days_since_epoch(np.array([first, last], "datetime64[ns]"))]
    inside = days[(days >= bounds[0]) & (days < bounds[1] + 1)]
    if not len(inside):
        raise UserError(
            f"{key}.path: {source.path} has images from {day_of(days[0])} to {day_of(days[-1])}, "
            f"expected some from {first} to {last}, the days of the store"
        )
    left_out = Accounting(where, f"{key}.left_out", source.left_out, "values")
    return _Gridded(
        images, satellite, inside, Record(left_out, notes=reading.repairs), step, instant
    )
