"""`slams bench climate`: whether a nature run drifts, and how close it is to observed climates.

Writes four tables, one row per variable and level, and prints them: `annual.csv` (global means per
year), `drift.csv` (their trend and spread), `segments.csv` (difference of the segments' climates
and the ratio of their variances) and `realism.csv` (against observed climatologies).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from rich.table import Table
from scipy import stats

from data_modules.nature_run.finished import is_nature_run
from slams.benchmarks.observed_climates import (
    annual_forcing,
    compare_with_observed,
    global_mean,
)
from slams.benchmarks.recipes import ClimateConfig
from slams.errors import UserError
from slams.runtime.console import make_table
from slams.runtime.output import make_output, publish
from slams.runtime.ranks import say
from slams.variables import UNITS

__all__ = ["annual_means", "bench_climate", "compare_segments", "find_drift", "monthly_climate"]


def bench_climate(config: ClimateConfig, output: Path) -> None:
    """Compare climates, print the tables and write them.

    Args:
        config: The segments and the observed climatologies.
        output: Directory, made where it is missing.

    Raises:
        UserError: The output is not a directory, or a file is missing or has other content.
    """
    make_output(output)
    pairs = list(zip(config.days[::2], config.days[1::2], strict=True))
    months = []
    for path, days in zip(config.segments, pairs or [()] * len(config.segments), strict=True):
        months.append(monthly_climate(Path(path), days))
        say(f"{path}: {months[-1].sizes['time']} months read")
    annual = annual_means(months)
    if config.forcing:
        annual = pd.concat([annual, annual_forcing(config.forcing, annual)], ignore_index=True)
    tables = {
        "annual": annual,
        "drift": find_drift(annual),
        "segments": compare_segments(months),
        "realism": compare_with_observed(months, config),
    }
    pages = _pages({name: tables[name] for name in ("drift", "segments", "realism")})
    publish(output, tables, *pages, number_format="%.6g")


def monthly_climate(path: Path, days: Sequence[str] = ()) -> xr.Dataset:
    """Reduce a nature run to calendar months, one month in memory at a time.

    Args:
        path: The store.
        days: First and last day to read, ISO dates; empty for all of them.

    Returns:
        `mean` and `variance` (of days within the month, about its linear trend), both `(time,
        channel, latitude, longitude)` in physical units; `time` is the first day of each month
        that is complete, `channel` is `variable@level` or `variable`.

    Raises:
        UserError: The store is missing, is not a nature run, or holds no full month.
    """
    if not is_nature_run(path):
        raise UserError(
            f"key 'segments': {path} is not a nature run; make one with `slams simulate`"
        )
    with xr.open_dataset(path, engine="zarr", consolidated=False, cache=False) as dataset:
        run = dataset[[name for name in UNITS if name in dataset]]
        run = run.sel(time=slice(*days) if days else slice(None))
        months = [_reduce(month) for month in _full_months(run)]
    if not months:
        raise UserError(f"key 'segments': {path} holds no full month of days, expected years")
    return xr.concat(months, dim="time")


def annual_means(segments: Sequence[xr.Dataset]) -> pd.DataFrame:
    """Average over the globe and over each full calendar year.

    Args:
        segments: Results of `monthly_climate`.

    Returns:
        Columns segment (1, 2, ...), year, channel, mean (physical units).
    """
    rows = []
    for number, months in enumerate(segments, start=1):
        for year, means_of_year in global_mean(months["mean"]).groupby("time.year"):
            if means_of_year.sizes["time"] < 12:
                continue
            mean = means_of_year.weighted(means_of_year["time"].dt.days_in_month).mean("time")
            rows += [
                (number, int(year), str(channel), float(value))
                for channel, value in zip(mean["channel"].values, mean.values, strict=True)
            ]
    return pd.DataFrame(rows, columns=["segment", "year", "channel", "mean"])


def find_drift(annual: pd.DataFrame) -> pd.DataFrame:
    """Fit a trend to the annual means of each channel.

    Args:
        annual: Result of `annual_means`.

    Returns:
        Columns channel, mean, spread (standard deviation of the annual means about their trend),
        trend and error (least squares over all years and its standard error, per decade), trend_1,
        error_1, ... (the same within each segment).
    """
    rows = []
    for channel, years in annual.groupby("channel", sort=False):
        trend, error, spread = _trend(years)
        row = {"channel": channel, "mean": years["mean"].mean(), "spread": spread}
        row |= {"trend": trend, "error": error}
        for number, own in years.groupby("segment"):
            row[f"trend_{number}"], row[f"error_{number}"], _ = _trend(own)
        rows.append(row)
    return pd.DataFrame(rows)


def compare_segments(segments: Sequence[xr.Dataset]) -> pd.DataFrame:
    """Compare the mean annual cycle and the variance within months of the first two segments.

    The expected difference is that of two averages over equally many years drawn from one climate:
    the variance between years of each month at each point, divided by the number of years, summed
    over both.

    Args:
        segments: Results of `monthly_climate`.

    Returns:
        Columns channel, difference (of the global means, second minus first), rms (of the mean
        annual cycles over months and the globe), expected (rms for two samples of one climate),
        variance_ratio (of the global mean variance within months, second over first). No rows for
        one segment.
    """
    columns = ["channel", "difference", "rms", "expected", "variance_ratio"]
    if len(segments) < 2:
        return pd.DataFrame(columns=columns)
    cycles, noise, variances = [], [], []
    for months in segments[:2]:
        calendar = months["mean"].groupby("time.month")
        cycles.append(calendar.mean())
        noise.append(calendar.var(ddof=1) / calendar.count())
        variances.append(global_mean(months["variance"]).mean("time"))
    difference = cycles[1] - cycles[0]
    frame = {
        "channel": difference["channel"].values,
        "difference": global_mean(difference).mean("month").values,
        "rms": np.sqrt(global_mean(difference**2).mean("month").values),
        "expected": np.sqrt(global_mean(noise[0] + noise[1]).mean("month").values),
        "variance_ratio": (variances[1] / variances[0]).values,
    }
    return pd.DataFrame(frame, columns=columns)


def _full_months(run: xr.Dataset) -> Iterator[xr.Dataset]:
    """Yield the complete calendar months, loaded."""
    time = pd.DatetimeIndex(run["time"].values)
    steps = 1 if len(time) < 2 else round(pd.Timedelta("1D") / (time[1] - time[0]))
    for start, index in pd.Series(np.arange(len(time)), index=time).groupby(time.to_period("M")):
        if len(index) == start.days_in_month * steps:
            yield run.isel(time=slice(index.iloc[0], index.iloc[-1] + 1)).load()


def _reduce(month: xr.Dataset) -> xr.Dataset:
    """Return mean and variance of one month, channels stacked."""
    channels = {}
    for name, values in month.data_vars.items():
        if "level" not in values.dims:
            channels[str(name)] = values
            continue
        for level in values["level"].values:
            channels[f"{name}@{level}"] = values.sel(level=level, drop=True)
    stacked = xr.concat(
        list(channels.values()), dim="channel", coords="minimal", compat="override"
    )
    stacked = stacked.astype(np.float64).assign_coords(channel=list(channels))
    # Humidity has no values at the highest levels.
    stacked = stacked.dropna("channel", how="all")
    mean = stacked.mean("time")
    # The season moves within a month: its trend is not variance of weather.
    step = xr.DataArray(np.arange(stacked.sizes["time"]), dims="time")
    step = step - step.mean()
    residual = stacked - mean - step * ((step * stacked).mean("time") / (step**2).mean())
    variance = (residual**2).sum("time") / (stacked.sizes["time"] - 2)
    moments = xr.Dataset({"mean": mean, "variance": variance})
    return moments.assign_coords(time=month["time"].values[0])


def _trend(years: pd.DataFrame) -> tuple[float, float, float]:
    """Return trend and standard error (per decade), and the spread about the trend."""
    if len(years) < 3:
        return np.nan, np.nan, np.nan
    fit = stats.linregress(years["year"], years["mean"])
    residual = years["mean"] - fit.intercept - fit.slope * years["year"]
    return 10 * fit.slope, 10 * fit.stderr, float(np.sqrt((residual**2).sum() / (len(years) - 2)))


def _pages(tables: dict[str, pd.DataFrame]) -> Iterator[Table]:
    for name, table in tables.items():
        if len(table):
            rows = (
                [cell if isinstance(cell, str) else f"{cell:.4g}" for cell in row]
                for row in table.itertuples(index=False)
            )
            yield make_table(name, list(table), rows)
