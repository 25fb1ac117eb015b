"""Observations of one day from tables of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_modules.given.found import NOT_A_CHANNEL, OUTSIDE, Given
from data_modules.given.reports import join_tables
from data_modules.observing.observers import StationObserver, with_errors
from data_modules.preparation.in_situ.checked import DailyReports, daily_reports
from data_modules.preparation.in_situ.daily import daily_values, near_levels
from data_modules.preparation.in_situ.network import StationDays, station_network
from data_modules.preparation.in_situ.steps import step_of_reports
from data_modules.sources.stations.reports.table import StationReports
from data_modules.sources.stations.reports.user_table import read_table
from data_modules.store.steps import DAYS, Steps
from slams.calendar.days import days_since_epoch, iso_date
from slams.config.schema import StationsConfig, StationSourceConfig, StationVariableConfig
from slams.errors import UserError
from slams.fields import FieldSpec, Observations
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser
from slams.variables import DEFAULT_ERRORS

__all__ = ["observe_reports"]

# Reports of the days around are compared with those of the day: 36 hours, see `in_situ.quality`.
_AROUND = 1.5


def observe_reports(
    tables: Sequence[tuple[pd.DataFrame, str]],
    day: float,
    stations: StationsConfig,
    channels: tuple[FieldSpec, ...],
    grid: LatLonGrid,
    normaliser: Normaliser,
    terrain: Tensor | None,
    steps: Steps = DAYS,
) -> Given:
    """Convert tables of reports to the observations of one day, see `given.observations`.

    Args:
        tables: Tables (`sources.stations.reports.user_table`) with their names for messages.
        day: Days since 1970-01-01, a whole number, or the time of a step.
        stations: The recipe's section `observations.stations`.
        channels: The `C` channels of the model.
        grid: The grid of the model.
        normaliser: Climatology and standard deviations.
        terrain: `(H, W)` m, or `None`.
        steps: The steps of the model.

    Raises:
        UserError: A table is invalid, or all of it is of other days.
    """
    parts = [read_table(table, where) for table, where in tables]
    for part, (_, where) in zip(parts, tables, strict=True):
        _refuse_other_days(part.table, day, where, steps)
    reports = join_tables(parts, " and ".join(where for _, where in tables))
    table = reports.table
    notes = [f"stations: {what}: {number}" for what, number in reports.repairs.items()]
    channel = _channels_of(table, channels)
    counts = _first_counts(table, channel, channels, day, steps)
    notes += [
        f"{name}: {own[NOT_A_CHANNEL]} reports: {NOT_A_CHANNEL}"
        for name, own in counts.items()
        if NOT_A_CHANNEL in own
    ]
    today = (step_of_reports(table, steps) == day).to_numpy()
    section = _section(stations, [channels[i] for i in np.unique(channel[today & (channel >= 0)])])
    observations: tuple[Observations, ...] = ()
    if section.variables:
        # Also reports between the levels of the model, which are interpolated.
        variables = {spec.variable for spec in _observed(section)}
        near = (days_since_epoch(table["time"]) - day).between(-_AROUND, 1 + _AROUND)
        near &= table["variable"].isin(variables)
        around = StationReports(table[near])
        days = np.array([int(day) if steps.length == 1 else day])
        found = daily_reports(around, _observed(section), section.source, days, steps)
        notes += [f"stations: {what}: {number}" for what, number in found.repairs.items()]
        if steps.length == 1:
            notes += _sparse(found, stations.source, section, day)
        _count_reports(counts, found, section, channels, day, steps)
        if not found.daily.empty:
            left = station_network([found], section, channels, grid, days, normaliser, terrain)
            for variable, lost in zip(section.variables, left.rejected, strict=True):
                counts[f"stations/{variable.channel}"].update(lost)
            if left.network is not None:
                observer = StationObserver(section, 0, channels, grid, terrain, left.network)
                observations = _observations(left, observer, day)
    used = {one.name: one.values.shape[-1] for one in observations}
    return Given(
        observations,
        {name: {**own, "used": used.get(name, 0)} for name, own in counts.items()},
        tuple(notes),
    )


def _refuse_other_days(table: pd.DataFrame, day: float, where: str, steps: Steps) -> None:
    """Refuse a table without a report of the day, or step."""
    days = step_of_reports(table, steps)
    if (days == day).any():
        return
    first, last = iso_date(days.min()), iso_date(days.max())
    span = str(first) if first == last else f"{first} to {last}"
    raise UserError(
        f"{where}: all {len(table)} reports are of {span}, expected reports of "
        f"{iso_date(day)} (UTC)"
    )


def _channels_of(table: pd.DataFrame, channels: Sequence[FieldSpec]) -> np.ndarray:
    """Return the index of the channel of each report, `(n,)` int64, -1 where there is none.

    A report on a level belongs to the channel on the nearest level, unless that is too far away
    for an interpolation.
    """
    found = np.full(len(table), -1, dtype=np.int64)
    for variable in table["variable"].unique():
        own = [i for i, spec in enumerate(channels) if spec.variable == variable]
        if not own:
            continue
        mine = (table["variable"] == variable).to_numpy()
        if channels[own[0]].level is None:
            found[mine] = own[0]
        else:
            levels = [channels[i].level or 0 for i in own]
            near = near_levels(levels, table.loc[mine, "level"].to_numpy())
            found[mine] = np.where(near >= 0, np.array(own)[near], -1)
    return found


def _first_counts(
    table: pd.DataFrame,
    channel: np.ndarray,
    channels: Sequence[FieldSpec],
    day: float,
    steps: Steps,
) -> dict[str, dict[str, int]]:
    """Count the reports by name of observations: given, of other days, and of no channel."""
    today = (step_of_reports(table, steps) == day).to_numpy()
    counts: dict[str, dict[str, int]] = {}
    for index in np.unique(channel):
        mine = channel == index
        names = [channels[index].name] if index >= 0 else table["variable"][mine].unique()
        for name in names:
            rows = mine if index >= 0 else mine & (table["variable"] == name).to_numpy()
            own = {"given": int(rows.sum())}
            _add(own, OUTSIDE, int((rows & ~today).sum()))
            if index < 0:
                _add(own, NOT_A_CHANNEL, int((rows & today).sum()))
            counts[f"stations/{name}"] = own
    return counts


def _section(stations: StationsConfig, specs: Sequence[FieldSpec]) -> StationsConfig:
    """Return the recipe's section for the channels that are reported, in the recipe's order."""
    reported = {spec.name: spec for spec in specs}
    variables = [v for v in stations.variables if v.channel in reported]
    stated = {v.channel for v in variables}
    variables += [
        StationVariableConfig(name, error=DEFAULT_ERRORS[spec.variable])
        for name, spec in reported.items()
        if name not in stated
    ]
    source = replace(stations.source, quarters=1, soundings=1)
    return replace(stations, variables=variables, source=source)


def _observed(section: StationsConfig) -> list[FieldSpec]:
    return [FieldSpec.parse(variable.channel) for variable in section.variables]


def _sparse(
    found: DailyReports, source: StationSourceConfig, section: StationsConfig, day: float
) -> list[str]:
    """Note the daily values for which an archive would have too few reports."""
    strict, _ = daily_values(found.table, _observed(section), source)
    strict = strict[strict["day"] == day]
    notes = []
    for number, spec in enumerate(_observed(section)):
        there, enough = ((rows["channel"] == number).sum() for rows in (found.daily, strict))
        if there > enough:
            fewest = (
                f"in {source.quarters} quarters of the day"
                if spec.level is None
                else f"of {source.soundings} soundings"
            )
            notes.append(
                f"stations/{spec.name}: {there - enough} of {there} daily values have fewer "
                f"reports than those {fewest} that an archive must have"
            )
    return notes


def _count_reports(
    counts: Mapping[str, dict[str, int]],
    found: DailyReports,
    section: StationsConfig,
    channels: Sequence[FieldSpec],
    day: float,
    steps: Steps,
) -> None:
    """Count the reports of the day that were rejected, are too few, or were averaged."""
    table = found.table[step_of_reports(found.table, steps) == day]
    channel = _channels_of(table, channels)
    names = [spec.name for spec in channels]
    for number, spec in enumerate(_observed(section)):
        own = counts[f"stations/{spec.name}"]
        mine = table[channel == names.index(spec.name)]
        for reason, rejected in mine.loc[~mine["accepted"], "reason"].value_counts().items():
            _add(own, str(reason), int(rejected))
        good = mine[mine["accepted"]]
        daily = found.daily[found.daily["channel"] == number]
        there = good["station_id"].isin(daily["station_id"])
        unit = "day" if steps.length == 1 else "step"
        few = f"too few for a {'daily value' if unit == 'day' else 'value of the step'}"
        few = few if spec.level is None else "too far from the level"
        _add(own, few, int((~there).sum()))
        instant = steps.length < 1 and spec.variable in steps.instants
        rest = "further from the time of the step" if instant else f"averaged over the {unit}"
        _add(own, rest, int(there.sum()) - len(daily))


def _observations(
    left: StationDays, observer: StationObserver, day: float
) -> tuple[Observations, ...]:
    """Return the observations of the stations that have a value, one per variable."""
    values = torch.from_numpy(left.values)[None]
    found = []
    time = torch.full((1, 1), day, dtype=torch.float64)
    for number, one in enumerate(observer.stored(values, time)):
        there = one.mask[0, 0].nonzero().flatten()
        if not len(there):
            continue
        if left.errors is not None:
            one = with_errors(one, torch.from_numpy(left.errors[..., number])[None])
        found.append(
            replace(
                one,
                operator=observer.operators[one.name].select(there),
                values=one.values[..., there],
                mask=one.mask[..., there],
                error_variance=one.error_variance[..., there],
            )
        )
    return tuple(found)


def _add(counts: dict[str, int], what: str, number: int) -> None:
    if number > 0:
        counts[what] = counts.get(what, 0) + number
