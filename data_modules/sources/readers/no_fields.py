"""A source without fields: days with observations only.

Its `path` is the first and the last day, `2020-01-01/2020-01-31`. Every channel is under `absent`,
statistics come from another store, and analyses are verified only against observations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

__all__ = ["open_no_fields"]

# Any global grid serves: the store has the target grid, and nothing is regridded.
_ROWS, _COLUMNS = 4, 8


def open_no_fields(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None,
    key: str,
) -> xr.Dataset:
    """Return the days, on a grid without any variable.

    Args:
        config: The source's section of the recipe: `path` is the first and last day separated by
        a slash, `absent` lists all channels.
        channels: The channels of the store.
        period: First and last day to read, days since 1970-01-01; all days by default.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: `path` is not two dates, there is no day, or a channel is not under `absent`.
    """
    for spec in channels:
        if spec.name not in config.absent:
            raise UserError(
                f"{key}.absent: {spec.name} is missing from the list, but {key}.kind is "
                f"no_fields, which has no channels; expected all of data.channels"
            )
    try:
        first, last = (np.datetime64(day.strip(), "D") for day in config.path.split("/"))
    except ValueError:
        raise UserError(
            f"{key}.path: found {config.path!r}, expected the first and the last day, such "
            f"as 2020-01-01/2020-01-31, since {key}.kind is no_fields"
        ) from None
    if not first <= last:
        raise UserError(f"{key}.path: {first} is after {last}")
    days = np.arange(first.astype(np.int64), last.astype(np.int64) + 1).astype(np.float64)
    if period is not None:
        days = days[(days >= period[0]) & (days <= period[1])]
        if not len(days):
            raise UserError(f"data.period: none of its days is in {key}.path, {config.path}")
    latitude = 90 - 180 / _ROWS * (np.arange(_ROWS) + 0.5)
    longitude = 360 / _COLUMNS * np.arange(_COLUMNS)
    return xr.Dataset(
        coords={"time": days, "latitude": latitude, "longitude": longitude},
        attrs={"repairs": [], "time": "days without fields", "title": "observations alone"},
    )
