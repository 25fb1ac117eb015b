"""The coordinates of a CF dataset: time, realization, level, latitude and longitude, with bounds.

Bounds are coordinates too, and named in the encoding of their axis, so that xarray writes the
attribute `bounds` and keeps them apart from the data variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from slams.calendar.days import time_stamps
from slams.calendar.steps import beginning_of_step

if TYPE_CHECKING:
    from slams.grid import LatLonGrid

__all__ = [
    "MEMBER_COUNT",
    "TIME_ENCODING",
    "grid_coordinates",
    "level_coordinate",
    "member_coordinates",
    "time_coordinate",
]

MEMBER_COUNT = "realization_count"

# Seconds in double precision are exact, and every reader of NetCDF knows the type.
TIME_ENCODING = {
    "units": "seconds since 1970-01-01 00:00:00",
    "calendar": "standard",
    "dtype": "float64",
    "_FillValue": None,
}
_BOUND = {"_FillValue": None}


def time_coordinate(time: np.ndarray, bounds: bool, step: float = 1.0) -> dict[str, xr.Variable]:
    """Return the axis of time, and the UTC days, or steps, that its values belong to.

    Args:
        time: `(N,)` days since 1970-01-01 00 UTC, increasing.
        bounds: Whether values represent a whole day, or step.
        step: Length of a step (days).
    """
    attributes = {
        "standard_name": "time",
        "long_name": "time",
        "axis": "T",
        "units_metadata": "leap_seconds: none",  # as numpy counts: every day has 86,400 seconds
    }
    stamps = time_stamps(time).astype("datetime64[ns]")
    axis = xr.Variable("time", stamps, attributes, dict(TIME_ENCODING))
    if not bounds:
        return {"time": axis}
    axis.encoding["bounds"] = "time_bnds"
    first = time_stamps(beginning_of_step(np.asarray(time, dtype=np.float64), step))
    ends = first + np.timedelta64(round(step * 24), "h")
    days = np.stack([first, ends], axis=1).astype("datetime64[ns]")
    return {
        "time": axis,
        "time_bnds": xr.Variable(("time", "bnds"), days, {}, dict(TIME_ENCODING)),
    }


def member_coordinates(count: int) -> dict[str, xr.Variable]:
    """Return the axis of members, numbered from 1, and their number.

    The number is a coordinate of what is derived from the members, which has no such axis.

    Args:
        count: Number of members.
    """
    axis = {"standard_name": "realization", "long_name": "ensemble member", "units": "1"}
    number = {"long_name": "number of ensemble members", "units": "1"}
    return {
        "realization": xr.Variable("realization", np.arange(1, count + 1, dtype="i4"), axis),
        MEMBER_COUNT: xr.Variable((), np.int32(count), number),
    }


def level_coordinate(levels: tuple[int, ...]) -> dict[str, xr.Variable]:
    """Return the axis of levels (hPa); empty without levels.

    Args:
        levels: Levels in order.
    """
    if not levels:
        return {}
    attributes = {
        "standard_name": "air_pressure",
        "long_name": "pressure level",
        "units": "hPa",
        "positive": "down",
        "axis": "Z",
    }
    return {"level": xr.Variable("level", np.array(levels, dtype="i4"), attributes)}


def grid_coordinates(grid: LatLonGrid) -> dict[str, xr.Variable]:
    """Return latitude and longitude with the bounds of the cells.

    Args:
        grid: The grid.
    """
    north = {
        "standard_name": "latitude",
        "long_name": "latitude",
        "units": "degrees_north",
        "axis": "Y",
    }
    east = {
        "standard_name": "longitude",
        "long_name": "longitude",
        "units": "degrees_east",
        "axis": "X",
    }
    latitude, longitude = grid.latitude.cpu().numpy(), grid.longitude.cpu().numpy()
    edges, half = grid.latitude_bounds.cpu().numpy(), grid.spacing / 2
    rows = np.stack([edges[:-1], edges[1:]], axis=1)
    columns = np.stack([longitude - half, longitude + half], axis=1)
    return {
        "latitude": xr.Variable("latitude", latitude, north, _BOUND | {"bounds": "lat_bnds"}),
        "longitude": xr.Variable("longitude", longitude, east, _BOUND | {"bounds": "lon_bnds"}),
        "lat_bnds": xr.Variable(("latitude", "bnds"), rows, {}, dict(_BOUND)),
        "lon_bnds": xr.Variable(("longitude", "bnds"), columns, {}, dict(_BOUND)),
    }
