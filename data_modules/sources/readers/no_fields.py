"""A source without fields: days on which there are observations and nothing else.

Its `path` is the first and the last day, `2020-01-01/2020-01-31`. Every channel is under `absent`,
statistics come from another store, and analyses are judged by the observations alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

__all__ = ["open_no_fields"]

# Any global grid will do: the store's own is the target grid, and nothing is regridded.
_ROWS, _COLUMNS = 4, 8


def open_no_fields(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None,
    key: str,
) -> xr.Dataset:
    """Return the days, on a grid without any variable.

    Args:
        config: Path, the first and last day separated by a slash; and `absent`, all channels.
        channels: The channels wanted.
        period: First and last day wanted, days since 1970-01-01; all days by default.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: The days are none, or a channel is not under `absent`.
    """
    for spec in channels:
        if spec.name not in config.absent:
            raise UserError(
                f"{key}.absent: {spec.name} is not among them, but {key}.kind is "
                f"no_fields, which has no channel; expected all of data.channels"
            )
    try:
        first, last = (np.datetime64(day.strip(), "D") for day in config.path.split("/"))
    except ValueError:
        raise UserError(
            f"{key}.path: found {config.path!r}, expected the first and the last day, such "
            f"as 2020-01-01/2020-01-31, since {key}.kind is no_fields"
        ) from None
    if not first <= last:
        raise UserError(f"{key}.path: {first} lies after {last}")
    days = np.arange(first.astype(np.int64), last.astype(np.int64) + 1).astype(np.float64)
    if period is not None:
        days = days[(days >= period[0]) & (days <= period[1])]
        if not len(days):
            raise UserError(f"data.period: no day of it lies in {config.path}, {key}.path")
    latitude = 90 - 180 / _ROWS * (np.arange(_ROWS) + 0.5)
    longitude = 360 / _COLUMNS * np.arange(_COLUMNS)
    return xr.Dataset(
        coords={"time": days, "latitude": latitude, "longitude": longitude},
        attrs={"repairs": [], "time": "days without fields", "title": "observations alone"},
    )
