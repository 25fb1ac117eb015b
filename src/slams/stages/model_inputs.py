"""What a model takes: fields, grid, backgrounds, and the kinds of what a user gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from slams.calendar.days import day_number, days_since_epoch
from slams.calendar.steps import beginning_of_step, clock_of_steps, describe_step
from slams.config.paths import shorten
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid

__all__ = ["DailyReports", "Inputs", "Reports", "as_day", "as_list", "check_number"]

# What a user may give as observations.
Reports = pd.DataFrame | xr.DataArray | xr.Dataset
# Those of many days: all of them, or a function of the day.
DailyReports = (
    Reports | Sequence[Reports] | Callable[[date], Reports | Sequence[Reports] | None] | None
)
# Days whose instants numpy can count in nanoseconds.
_FIRST, _LAST = date(1678, 1, 1), date(2261, 12, 31)


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
        filter_observes: Channels that the learned filter observes, whose forecasts are the
            backgrounds of a cycle; empty for a model whose cycles have no filter.
        condition_only: Channels that inform the analysis and are not analysed.
        notes: What it cannot do, one sentence each.
        step: Length of its steps (days), which `ages` count.
    """

    channels: tuple[FieldSpec, ...]
    grid: LatLonGrid
    ages: tuple[int, ...]
    trained_age: int | None
    imagery: str
    methods: tuple[str, ...]
    filter_observes: tuple[str, ...] = ()
    condition_only: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    step: float = 1.0

    def __str__(self) -> str:
        rows, columns = self.grid.shape
        latitude, longitude = self.grid.latitude, self.grid.longitude
        cycles = (
            [
                "cycle        backgrounds are forecasts of a learned filter, which observes "
                + ", ".join(self.filter_observes)
            ]
            if self.filter_observes
            else []
        )
        lines = [
            f"grid         {rows} x {columns}, latitude {float(latitude[0]):.2f} to "
            f"{float(latitude[-1]):.2f}, longitude {float(longitude[0]):.2f} to "
            f"{float(longitude[-1]):.2f}",
            *(
                []
                if self.step == 1
                else [f"time         {clock_of_steps(self.step)} UTC of each day"]
            ),
            f"background   none, or a state {', '.join(map(str, self.ages))} "
            f"{'days' if self.step == 1 else f'steps of {describe_step(self.step)}'} old"
            + ("" if self.trained_age is None else f" (networks: {self.trained_age})"),
            *cycles,
            f"imagery      {self.imagery}",
            f"methods      {', '.join(self.methods)}",
            "channels     fields of a background and of the analysis; each may be observed",
        ]
        for spec in self.channels:
            only = " (not analysed)" if spec.name in self.condition_only else ""
            lines.append(f"  {spec.name:<32}{spec.units}{only}")
        return "\n".join([*lines, *(f"note         {note}" for note in self.notes)])


def as_day(time: Any, step: float = 1.0) -> float:
    """Return the UTC day of a time, or the time of a step, as days since 1970-01-01.

    Args:
        time: A date, an instant, or either of them as ISO text; an instant without a time zone is
            in UTC.
        step: Length of the steps of the model (days).

    Returns:
        A whole number, as `int`, for steps of a day.

    Raises:
        UserError: It is not a time, too far away, or not the time of a step of less than a day.
    """
    value = time
    if isinstance(value, np.ndarray | xr.DataArray) and value.ndim == 0:
        value = np.asarray(value)[()]
    try:
        if isinstance(value, str):
            # pandas would read 03/04 as a day in March, and `now` as today.
            value = datetime.fromisoformat(value)
        elif not isinstance(value, date | np.datetime64):
            raise TypeError
        stamp = pd.Timestamp(value)
        if pd.isna(stamp):
            raise TypeError
        if stamp.tzinfo is not None:
            stamp = stamp.tz_convert("UTC").tz_localize(None)
        day = stamp.date()
    except (ValueError, TypeError) as error:
        found = shorten(" ".join(repr(time).split()))
        raise UserError(f"time: found {found}, expected a day such as '2020-01-15'") from error
    if not _FIRST <= day <= _LAST:
        raise UserError(f"time: found {day}, expected a day from {_FIRST} to {_LAST}")
    if step == 1:
        return day_number(day)
    number = float(days_since_epoch(stamp.to_datetime64()))
    if beginning_of_step(number, step) != number:
        raise UserError(
            f"time: found {stamp:%Y-%m-%dT%H:%M}, expected {clock_of_steps(step)} UTC, the steps "
            f"of the model, such as '{day}T06:00'"
        )
    return number


def as_list(observations: Any) -> list[Reports]:
    """Return what a user gave as observations as a list of tables and images.

    Args:
        observations: One or several of them; `None` for none.

    Raises:
        UserError: It is neither. What is in a list is checked where it is read.
    """
    if observations is None:
        return []
    if isinstance(observations, Reports):
        return [observations]
    if isinstance(observations, str | bytes | Mapping) or not isinstance(observations, Iterable):
        raise UserError(
            f"observations: found {type(observations).__name__}, expected a pandas DataFrame of "
            f"reports, an xarray DataArray or Dataset of imagery, or a list of them"
        )
    return list(observations)


def check_number(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Refuse an argument that is not a whole number within bounds.

    Args:
        name: Name of the argument.
        value: Its value.
        least: Smallest value.
        most: Largest value; `None` for no limit.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UserError(f"{name}: found {value!r}, expected a whole number")
    if value < least:
        raise UserError(f"{name}: found {value}, expected at least {least}")
    if most is not None and value > most:
        raise UserError(f"{name}: found {value}, expected at most {most}")
