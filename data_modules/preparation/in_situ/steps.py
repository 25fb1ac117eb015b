"""Values of station reports at steps of less than a day: one per station, step and channel.

* An instant (a variable that the store holds as instants): the report nearest to the time of the
  step, within half a step of it; for soundings the profile nearest to it, interpolated as in
  `in_situ.daily`. Means over more than a step are not used.
* A mean (2 m temperature or OLR that the store holds as means): the mean of the reports within the
  step, `[t, t + step)`, each by the middle of the period that it covers.
* Precipitation: the sum of non-overlapping periods of one length that cover the step, as a rate
  per day; a period belongs to the step that contains its middle.

The time of each value, its mean distance from the time of the step in hours, is kept beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_modules.preparation.in_situ.daily import (
    apart,
    middles,
    near_level,
    profile_value,
)
from data_modules.store.steps import Steps
from slams.calendar.steps import beginning_of_step, nearest_step
from slams.config.schema import StationSourceConfig
from slams.fields import FieldSpec

__all__ = ["step_of_reports", "step_values"]

# Tolerance for rounding in the fraction of a step.
_SLACK = 1e-9
_COLUMNS = ["station_id", "day", "value", "hours_after"]


def step_of_reports(table: pd.DataFrame, steps: Steps) -> pd.Series:
    """Return the time of the step that each report belongs to, days since 1970-01-01.

    Args:
        table: Columns variable, time and hours of a long table.
        steps: The steps.
    """
    middle = middles(table)
    if steps.length == 1:
        return np.floor(middle).astype(np.int64)
    instant = table["variable"].isin(steps.instants)
    begins = beginning_of_step(middle, steps.length)
    return begins.where(~instant, nearest_step(middle, steps.length))


def step_values(
    table: pd.DataFrame,
    channels: Sequence[FieldSpec],
    config: StationSourceConfig,
    steps: Steps,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Compute the values at steps of less than a day from the accepted reports.

    Args:
        table: Long table after the quality control.
        channels: The observed channels.
        config: The share of a step that precipitation must cover, `coverage`.
        steps: The steps.

    Returns:
        Columns station_id, day (time of the step, days since 1970-01-01), channel (index), value
        (K, mm day-1, W m-2) and hours_after (hours from the time of the step to the value);
        and the number of steps with too few reports, by channel.
    """
    good = table[table["accepted"]]
    good = good.assign(middle=middles(good), day=step_of_reports(good, steps).astype(np.float64))
    parts, short = [], {}
    for index, spec in enumerate(channels):
        rows = good[(good["variable"] == spec.variable) & (good["hours"] <= 24 * steps.length)]
        few = 0
        if spec.variable == "total_precipitation_24hr":
            found, few = _totals(rows, config.coverage, steps.length)
        elif spec.level is not None:
            found = _nearest_or_mean(_at_level(rows, spec.level), spec, steps)
        else:
            found = _nearest_or_mean(rows, spec, steps)
        if few:
            short[f"{spec.name}: steps with too few reports"] = few
        found = found.assign(hours_after=(found["middle"] - found["day"]) * 24)
        parts.append(found[_COLUMNS].assign(channel=index))
    return pd.concat(parts, ignore_index=True), short


def _nearest_or_mean(rows: pd.DataFrame, spec: FieldSpec, steps: Steps) -> pd.DataFrame:
    """Return the value nearest to each step, or the mean over it, per station."""
    keys = ["station_id", "day"]
    if spec.variable not in steps.instants:
        return rows.groupby(keys)[["value", "middle"]].mean().reset_index()
    far = (rows["middle"] - rows["day"]).abs()
    # Of two equally near reports the earlier one.
    order = rows.assign(far=far).sort_values([*keys, "far", "middle"], kind="stable")
    return order.drop_duplicates(keys)[[*keys, "value", "middle"]]


def _at_level(rows: pd.DataFrame, level: int) -> pd.DataFrame:
    """Return the values of soundings at a level, one row per sounding that reaches it."""
    records = []
    near = rows[near_level(rows, level)]
    for (name, middle), profile in near.groupby(["station_id", "middle"], sort=True):
        value = profile_value(
            profile["level"].to_numpy(), profile["value"].to_numpy(), float(level)
        )
        if not math.isnan(value):
            records.append((name, middle, profile["day"].iloc[0], value))
    return pd.DataFrame(records, columns=["station_id", "middle", "day", "value"])


def _totals(rows: pd.DataFrame, coverage: float, step: float) -> tuple[pd.DataFrame, int]:
    """Sum precipitation over the periods of a step, as a rate per day."""
    rows = rows[rows["hours"] > 0].sort_values(["station_id", "hours", "time"], kind="stable")
    rows = rows[apart(rows)]
    keys = ["station_id", "day"]
    sums = rows.assign(covered=rows["hours"] / (24 * step)).groupby([*keys, "hours"])
    sums = sums.agg(
        value=("value", "sum"), covered=("covered", "sum"), middle=("middle", "mean")
    ).reset_index()
    sums = sums.sort_values([*keys, "covered", "hours"], kind="stable")
    best = sums.drop_duplicates(keys, keep="last")
    enough = best["covered"].between(coverage - _SLACK, 1.0 + _SLACK)
    found = best[enough]
    return found.assign(value=found["value"] / step), int((~enough).sum())
