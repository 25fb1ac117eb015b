"""What a model takes: fields, grid, backgrounds, and the kinds of what a user gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
import xarray as xr

from slams.calendar.days import day_number
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid

__all__ = ["DailyReports", "Inputs", "Reports", "as_day"]

# What a user may give as observations.
Reports = pd.DataFrame | xr.DataArray | xr.Dataset
# Those of many days: all of them, or a function of the day.
DailyReports = Reports | Sequence[Reports] | Callable[[date], Reports | Sequence[Reports]]


@dataclass(frozen=True)
class Inputs:
    """What a model takes and returns.

    Attributes:
        channels: Its fields, of which every one may be observed and is analysed, unless it is
            among `condition_only`.
        grid: Its grid.
        ages: Ages (days) of backgrounds that can be used.
        trained_age: Age that the networks were trained with; 0 for states valid at the time of
            the analysis, `None` if they know no background.
        imagery: Channel that imagery observes.
        methods: Methods that it serves.
        condition_only: Channels that inform the analysis and are not analysed.
        notes: What it cannot do, one sentence each.
    """

    channels: tuple[FieldSpec, ...]
    grid: LatLonGrid
    ages: tuple[int, ...]
    trained_age: int | None
    imagery: str
    methods: tuple[str, ...]
    condition_only: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows, columns = self.grid.shape
        latitude, longitude = self.grid.latitude, self.grid.longitude
        lines = [
            f"grid         {rows} x {columns}, latitude {float(latitude[0]):.2f} to "
            f"{float(latitude[-1]):.2f}, longitude {float(longitude[0]):.2f} to "
            f"{float(longitude[-1]):.2f}",
            f"background   none, or a state {', '.join(map(str, self.ages))} days old"
            + ("" if self.trained_age is None else f" (networks: {self.trained_age})"),
            f"imagery      {self.imagery}",
            f"methods      {', '.join(self.methods)}",
            "channels     fields of a background and of the analysis; each may be observed",
        ]
        for spec in self.channels:
            only = " (not analysed)" if spec.name in self.condition_only else ""
            lines.append(f"  {spec.name:<32}{spec.units}{only}")
        return "\n".join([*lines, *(f"note         {note}" for note in self.notes)])


def as_day(time: Any) -> int:
    """Return the UTC day of a time, as days since 1970-01-01.

    Raises:
        UserError: It is not a time.
    """
    if isinstance(time, int | float) or time is None:
        raise UserError(f"time: found {time!r}, expected a day such as '2020-01-15'")
    try:
        stamp = pd.Timestamp(time)
        if stamp.tzinfo is not None:
            stamp = stamp.tz_convert("UTC").tz_localize(None)
        return day_number(stamp.date())
    except (ValueError, TypeError) as error:
        raise UserError(f"time: found {time!r}, expected a day such as '2020-01-15'") from error
