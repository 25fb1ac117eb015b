"""Observations of a cycle, day by day: tables and images of many days, or a function of days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import xarray as xr

from data_modules.given.found import OUTSIDE, Given
from data_modules.given.names import input_name
from data_modules.given.observations import observe
from data_modules.given.reports import days_of_table
from data_modules.multimodal import MultimodalDataModule
from data_modules.sources.imagery.layout import covered_times
from data_modules.store.steps import DAYS, Steps
from slams.calendar.days import day_of, days_since_epoch, iso_date, time_stamps
from slams.calendar.steps import step_of_value
from slams.config.schema import ObservationsConfig
from slams.errors import UserError
from slams.stages.model_inputs import DailyReports, Reports, as_list

__all__ = ["daily_observations", "observe_day", "of_the_day"]

# Reports are compared with those of the same station of up to 36 hours before and after.
_AROUND = 2


def observe_day(
    data: MultimodalDataModule,
    config: ObservationsConfig,
    observations: Reports | Sequence[Reports] | None,
    day: float,
    name: str = "",
) -> Given:
    """Return the observations of a day on the channels of some data, before any background.

    Args:
        data: The data, for channels, grid, climatology and terrain.
        config: How observations are read, checked and averaged.
        observations: Tables and images.
        day: Days since 1970-01-01.
        name: Name of the argument that they were given as, if there is only one.

    Raises:
        UserError: As for `data_modules.given.observations.observe`.
    """
    inputs = as_list(observations)
    return observe(
        inputs,
        day,
        config.stations,
        config.satellite,
        data.channels,
        data.grid,
        data.normaliser.to("cpu"),
        data.store.elevation,
        [name] * len(inputs) if name else (),
        Steps.of(data.store.attributes),
    )


def daily_observations(
    observations: DailyReports,
    first: float,
    days: int,
    steps: Steps = DAYS,
    imagery: str = "",
) -> Callable[[float], list[Reports]]:
    """Return a function from a day (since 1970-01-01), or step, to its tables and images.

    Args:
        observations: As for `Model.cycle`.
        first: First day of the cycle, or the time of its first step.
        days: Number of days, or steps.
        steps: The steps.
        imagery: Variable that images show.

    Raises:
        UserError: They are neither observations nor a function, a table has no valid times, or
            all of them are of other days than the cycle's.
    """
    if callable(observations):
        return lambda day: [
            one
            for one in as_list(observations(_date(day, steps)))
            if not (isinstance(one, pd.DataFrame) and one.empty)
        ]
    given = as_list(observations)
    # `None` for every day: an image without a time, or what is refused where it is read.
    names = [input_name(one, number, len(given)) for number, one in enumerate(given)]
    dated = [_days(one, name, steps, imagery) for one, name in zip(given, names, strict=True)]
    cycled = first + steps.length * np.arange(days)
    known = [own for own in dated if own is not None]
    if known and len(known) == len(dated) and not any(np.isin(own, cycled).any() for own in known):
        low, high = (iso_date(f(map(f, known))) for f in (min, max))
        raise UserError(
            f"observations: all are of {low} to {high}, expected some of {iso_date(first)} to "
            f"{iso_date(cycled[-1])} (UTC)"
        )

    def of_day(day: float) -> list[Reports]:
        return [
            one if own is None else _part(one, own, day)
            for one, own in zip(given, dated, strict=True)
            if own is None or (own == day).any()
        ]

    return of_day


def of_the_day(given: Given) -> Given:
    """Return observations with the counts of their day alone, without those around it."""
    counts = {}
    for name, own in given.counts.items():
        number = own["given"] - own.get(OUTSIDE, 0)
        if number:
            rest = {reason: n for reason, n in own.items() if reason != OUTSIDE}
            counts[name] = {**rest, "given": number}
    return replace(given, counts=counts)


def _date(day: float, steps: Steps) -> date:
    """Return a day, or the time of a step, as what a user's function is given."""
    return day_of(day) if steps.length == 1 else time_stamps(day).item()


def _days(given: Reports, where: str, steps: Steps, imagery: str) -> np.ndarray | None:
    """Return the day, or step, of each report of a table, or of each time of an image."""
    if isinstance(given, pd.DataFrame):
        return days_of_table(given, where, steps)
    if not isinstance(given, Reports) or "time" not in given.coords:
        return None
    times = np.atleast_1d(given["time"].values)
    if times.dtype == object:  # cftime
        times = np.array([np.datetime64(t.isoformat()) for t in times])
    if not np.issubdtype(times.dtype, np.datetime64) or np.isnat(times).any():
        return None
    own = given if isinstance(given, xr.Dataset) else given.to_dataset(name="image")
    covered, _ = covered_times(own, days_since_epoch(times.astype("datetime64[ns]")))
    return step_of_value(covered, steps.length, imagery in steps.instants)


def _part(given: Reports, days: np.ndarray, day: float) -> Reports:
    if isinstance(given, pd.DataFrame):
        return given[np.abs(days - day) <= _AROUND]
    return given.isel(time=np.flatnonzero(days == day)) if "time" in given.dims else given
