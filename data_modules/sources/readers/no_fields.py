"""A source without fields: days with observations only.

Its `path` is the first and the last day, `2020-01-01/2020-01-31`. Every channel is under `absent`,
statistics come from another store, and analyses are verified only against observations.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from data_modules.sources.canonical.reading import Reading
from slams.errors import UserError

__all__ = ["open_no_fields"]

# Any global grid serves: the store has the target grid, and nothing is regridded.
_ROWS, _COLUMNS = 4, 8


def open_no_fields(reading: Reading) -> xr.Dataset:
    """Return the days, on a grid without any variable.

    Args:
        reading: What is requested: `config.path` is the first and last day separated by a slash,
            `config.absent` lists all channels.

    Raises:
        UserError: `path` is not two dates, there is no day, or a channel is not under `absent`.
    """
    key, path = reading.key, reading.path
    if reading.wanted:
        raise UserError(
            f"{key}.absent: {reading.wanted[0].name} is missing from the list, but {key}.kind is "
            f"no_fields, which has no channels; expected all of data.channels"
        )
    try:
        first, last = (np.datetime64(day.strip(), "D") for day in path.split("/"))
    except ValueError:
        raise UserError(
            f"{key}.path: found {path!r}, expected the first and the last day, such as "
            f"2020-01-01/2020-01-31, since {key}.kind is no_fields"
        ) from None
    if not first <= last:
        raise UserError(f"{key}.path: {first} is after {last}")
    days = np.arange(first.astype(np.float64), last.astype(np.float64) + 1, reading.step)
    latitude = 90 - 180 / _ROWS * (np.arange(_ROWS) + 0.5)
    longitude = 360 / _COLUMNS * np.arange(_COLUMNS)
    return xr.Dataset(
        coords={
            "time": days[reading.of_period(days)],
            "latitude": latitude,
            "longitude": longitude,
        },
        attrs={"repairs": [], "time": "days without fields", "title": "observations alone"},
    )
