"""One-day forecasts of temperature by local ridge regression, from the true state of the day.

All longitudes of a row of latitude are fitted together; the target is the normalised anomaly of
temperature at every level on day `t + 1`, the predictors are patches of the state on day `t` (and
`t - 1`):

- temperature, surface fields and surface pressure: `patch`, 5 x 7 points;
- winds and humidity: `wind_patch`, 3 x 5 points;
- products of wind and temperature gradient, `u dT/dx` and `v dT/dy` at each level with winds:
  `product_patch`, the point itself;
- temperature, surface fields and surface pressure of the day before: `before_patch`, 5 x 7 points.

The moments of the largest set of predictors are summed once per row of latitude; those of every
state and every choice of training days are parts of them. The penalty, one per row, state and
choice of training days, is the one with the smallest error on held-out blocks of training days;
the weights are then fitted to all training days. The validation days are only forecast.

Three references are added: the climatology (zero anomaly), the day itself (`persistence`), and the
day times a coefficient per point and level, fitted to the training days (`damped_persistence`).
"""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_modules.store.training_store import TrainingStore
from slams.benchmarks.state.days import SampleDays, choose_days
from slams.benchmarks.state.fields import Band, choose_channels, read_band, store_levels
from slams.benchmarks.state.predictors import Predictors, choose_predictors
from slams.benchmarks.state.recipe import StateBenchConfig
from slams.benchmarks.state.results import KeptResults, monthly_rows
from slams.benchmarks.state.ridge import Moments, choose_penalty, fit
from slams.errors import UserError
from slams.runtime.ranks import say

__all__ = ["REFERENCES", "Regression", "regress", "regress_row"]

REFERENCES = ("climatology", "persistence", "damped_persistence")
# One in this many blocks of training days is used to choose the penalty.
_EVERY = 5
_FIT, _HELD_OUT, _APART = range(3)


@dataclass(frozen=True)
class _Part:
    """Samples that belong to the same choices of training days and to the same fold.

    Attributes:
        start: `(D,)` days `t`, as positions of the days read.
        members: `(K,)` bool, the choices.
        fold: Fitted to, held out, or between the two.
    """

    start: Tensor
    members: tuple[bool, ...]
    fold: int


@dataclass(frozen=True)
class Regression:
    """What all rows of latitude have in common.

    Attributes:
        config: The recipe.
        levels: Levels (hPa) of the target.
        days: Days to read, and the samples among them.
        parts: The training samples.
        predictors: Predictors of all states together.
    """

    config: StateBenchConfig
    levels: list[int]
    days: SampleDays
    parts: list[_Part]
    predictors: Predictors


def regress(config: StateBenchConfig, store: TrainingStore, kept: KeptResults) -> list[str]:
    """Compute the unfinished rows of latitude, and store each as it is done.

    Args:
        config: The recipe.
        store: Its store.
        kept: Receives the results, one table per row of latitude.

    Returns:
        The names of all results, those of other shares included.

    Raises:
        UserError: The store lacks a channel, days or values.
    """
    settings, height = config.regression, store.grid.shape[0]
    names = [f"row_{row:03d}" for row in range(height)]
    days = choose_days(store, config)
    channels = choose_channels(store, config.levels, settings.states)
    predictors = choose_predictors(channels, settings, height)
    problem = Regression(config, store_levels(store), days, _parts(days, config), predictors)
    bands = [range(i, min(i + settings.band, height)) for i in range(0, height, settings.band)]
    bands = bands[config.share[0] - 1 :: config.share[1]]
    bands = [[row for row in band if not kept.has(names[row])] for band in bands]
    left = sum(map(len, bands))
    say(
        f"regression: {left} rows of latitude to do, {len(days.position)} days, "
        f"{len(predictors.groups(height // 2))} predictors"
    )
    torch.set_num_threads(config.threads)
    begun, done = time.perf_counter(), 0
    for rows in filter(None, bands):
        wanted = range(rows[0], rows[-1] + 1)
        band = read_band(store, channels, days.position, wanted, predictors.margin)
        say(f"rows {rows[0]} to {rows[-1]} read")
        for row in rows:
            started = time.perf_counter()
            kept.write(names[row], regress_row(problem, band, row))
            done += 1
            now = time.perf_counter()
            minutes = (now - begun) / done * (left - done) / 60
            say(
                f"row {row} of {height}: {now - started:.1f} s, {left - done} left, about "
                f"{minutes:.0f} min"
            )
    return names


def regress_row(problem: Regression, band: Band, row: int) -> pd.DataFrame:
    """Fit and score every state and choice of training days in one row of latitude.

    Args:
        problem: What all rows have in common.
        band: Fields of the row and of those around it.
        row: The row.

    Returns:
        Table of `slams.benchmarks.state.results.monthly_rows`.
    """
    predictors, settings = problem.predictors, problem.config.regression
    moments = [_moments(part, predictors, band, row, settings.block) for part in problem.parts]
    names, weights, penalties, damping = [], [], [], []
    size = len(predictors.groups(row))
    for number, training in enumerate(problem.days.names):
        inside = [
            (part, found)
            for part, found in zip(problem.parts, moments, strict=True)
            if part.members[number]
        ]
        seen, held_out = (
            _total(found for part, found in inside if part.fold == fold)
            for fold in (_FIT, _HELD_OUT)
        )
        everything = _total(found for _, found in inside)
        for state in settings.states:
            index = predictors.index(row, state)
            penalty = choose_penalty(
                seen.select(index), held_out.select(index), settings.penalties
            )
            found = fit(everything.select(index), penalty)
            whole = torch.zeros(size, len(predictors.targets))
            if found is not None:
                whole[index] = found.to(torch.float32)
            weights.append(whole)
            names.append((training, state))
            penalties.append(penalty)
        damping.append(_damping([part for part, _ in inside], predictors, band, row))
    references = [("", "climatology"), ("", "persistence")]
    references += [(training, "damped_persistence") for training in problem.days.names]
    names, penalties = [*names, *references], [*penalties, *[np.nan] * len(references)]
    tables = []
    for month, start in problem.days.validation_months():
        square = _squared_errors(predictors, band, row, start, weights, damping).numpy()
        count = len(start)
        tables.append(monthly_rows(row, month, count, names, problem.levels, square, penalties))
    return pd.concat(tables, ignore_index=True)


def _squared_errors(
    predictors: Predictors,
    band: Band,
    row: int,
    start: Tensor,
    weights: list[Tensor],
    damping: list[Tensor],
) -> Tensor:
    """Return mean squared errors (K2) of all forecasts and references, `(M, L)`."""
    size, count = weights[0].shape
    values = predictors.fill(band, row, start)
    truth, today = values[size:], predictors.target(band, row, start)
    stacked = torch.cat(weights, dim=1).T
    forecasts = (stacked @ values[:size].flatten(1)).reshape(-1, count, *truth.shape[1:])
    references = [torch.zeros_like(today), today, *(d[:, None] * today for d in damping)]
    errors = torch.cat([forecasts, torch.stack(references)]) - truth
    return (errors * band.sd[:, row - band.first, None]).square().mean(dim=(2, 3))


def _parts(days: SampleDays, config: StateBenchConfig) -> list[_Part]:
    """Divide the training samples by the choices they belong to and by fold."""
    settings = config.regression
    when = np.floor(days.time[days.start + 1]).astype(np.int64)
    block, within = np.divmod(when, settings.held_out)
    inner = (within >= settings.apart) & (within < settings.held_out - settings.apart)
    fold = np.where(block % _EVERY == 0, np.where(inner, _HELD_OUT, _APART), _FIT)
    keys = np.concatenate([days.train, fold[None]]).T
    parts = []
    for key in np.unique(keys, axis=0):
        if key[:-1].any():
            start = torch.from_numpy(days.start[(keys == key).all(axis=1)])
            parts.append(_Part(start, tuple(key[:-1].astype(bool).tolist()), int(key[-1])))
    for number, name in enumerate(days.names):
        if {_FIT, _HELD_OUT} - {part.fold for part in parts if part.members[number]}:
            raise UserError(
                f"key 'regression.held_out': no days of {name!r} are held out in blocks of "
                f"{settings.held_out} days without {settings.apart} at either end; choose other "
                f"blocks or more training days"
            )
    return parts


def _moments(part: _Part, predictors: Predictors, band: Band, row: int, block: int) -> Moments:
    """Sum the moments of a part, block by block."""
    count = len(predictors.targets)
    return _total(
        Moments.of(predictors.fill(band, row, start).flatten(1), count)
        for start in part.start.split(block)
    )


def _total(moments: Iterator[Moments]) -> Moments:
    return functools.reduce(operator.add, moments)


def _damping(parts: list[_Part], predictors: Predictors, band: Band, row: int) -> Tensor:
    """Regress the target on itself a day before at every point: `(L, W)`."""
    start = torch.cat([part.start for part in parts])
    today, tomorrow = (predictors.target(band, row, start + days) for days in (0, 1))
    return (today * tomorrow).sum(dim=1) / today.square().sum(dim=1)
