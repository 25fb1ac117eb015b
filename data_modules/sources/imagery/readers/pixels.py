"""Reader of pixels of level 2: swaths in NetCDF, or tables in CSV or Parquet.

A swath is `olr(scan, pixel)`, W m-2, under its own, a short or its standard name, with `latitude`
and `longitude` of the same dimensions, `time` of the scans or the pixels, and optionally `error`;
any names of dimensions, also one alone (a list of pixels). A table has the columns `time`,
`latitude`, `longitude`, `value` (W m-2) and optionally `error`, `variable`. The layout of swaths
is that of two-dimensional coordinates in the CF conventions (https://cfconventions.org, 5.2).

Pixels are averaged in the cells of `cell` degrees, or in the footprints of the model's grid, to
superobservations of each UTC day or step, with their number and mean time. Left out and counted:
pixels without a position or time, values out of range, errors that are none. Refused: an image on
a regular grid, accumulated units, no pixel on the days of the store.
"""

from __future__ import annotations

import numpy as np

from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.opening import find_files, open_netcdf
from data_modules.sources.imagery.images import Record
from data_modules.sources.imagery.pixels import (
    PixelCells,
    cells_of_pixels,
    is_swath,
    swath_pixels,
    table_pixels,
)
from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.tables.opening import is_table, open_table
from slams.calendar.days import days_since_epoch
from slams.config.schema import SatelliteConfig, SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid

__all__ = ["open_pixels"]


def open_pixels(
    satellite: SatelliteConfig,
    grid: LatLonGrid,
    first: np.datetime64,
    last: np.datetime64,
    key: str,
    step: float = 1.0,
    instant: bool = False,
) -> PixelCells:
    """Read pixels, file by file, and sum them in cells.

    Args:
        satellite: The recipe's section `observations.satellite`.
        grid: The grid of the fields, for cells that are footprints of it.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the source in the recipe, for messages.
        step: Length (days) of the steps of the store.
        instant: Whether the store holds instants of the channel.

    Raises:
        UserError: A file is missing or has another layout, too many pixels cannot be used, or
            none is of these days.
    """
    source, channel = satellite.source, FieldSpec.parse(satellite.channel)
    where = f"imagery {source.path}"
    config = SourceConfig(kind="cf", path=source.path)
    record = Record(Accounting(where, f"{key}.left_out", source.left_out, "pixels"))
    cells = PixelCells(cells_of_pixels(satellite, grid), channel, satellite, record, step, instant)
    bounds = [float(x) for x in days_since_epoch(np.array([first, last], "datetime64[ns]"))]
    outside = 0
    for file in find_files(config, "files of pixels (NetCDF, CSV or Parquet)", key):
        reading = Reading(config, (channel,), key, label=f"imagery {file}")
        if is_table(file):
            table = open_table(file, f"{key}.path")
            pixels = table_pixels(table, channel, f"imagery {file}", record.left_out)
        else:
            dataset = open_netcdf([file], key, reading.repairs)
            if not is_swath(dataset):
                raise reading.fault(
                    "found no position for each pixel, expected latitude and longitude of the "
                    "dimensions of the pixels; an image on a regular grid is of kind gridded_olr"
                )
            pixels = swath_pixels(dataset, channel, source.variable, reading)
            dataset.close()
        outside += cells.add(pixels, *bounds, reading)
        record.notes += [note for note in reading.repairs if note not in record.notes]
    record.check()
    if not len(cells.days):
        raise UserError(
            f"{key}.path: {source.path} has no pixel from {first} to {last}, the days of the "
            f"store; {outside} are of other days"
        )
    if outside:
        record.notes.append(f"pixels of other days: {outside}")
    return cells
