"""Reports that passed the checks of single reports, and their daily values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data_modules.preparation.in_situ.daily import daily_values
from data_modules.preparation.in_situ.positions import split_moved
from data_modules.preparation.in_situ.quality import check_reports
from data_modules.preparation.in_situ.steps import step_values
from data_modules.sources.stations.reports.table import StationReports
from data_modules.store.steps import DAYS, Steps
from slams.config.schema import StationSourceConfig
from slams.fields import FieldSpec

__all__ = ["DailyReports", "daily_reports"]


@dataclass(frozen=True)
class DailyReports:
    """Reports that passed the checks of single reports, and their daily values.

    Attributes:
        table: The long table with one position per station; rejected reports have a reason.
        daily: Columns station_id, day, channel (index), value (physical units) and, where reports
            state errors, error; at steps of less than a day, hours_after of `in_situ.steps`.
        counts: Numbers of reports, of rejections by reason, and of daily values.
        repairs: Number of repairs by kind.
    """

    table: pd.DataFrame
    daily: pd.DataFrame
    counts: Mapping[str, int]
    repairs: Mapping[str, int]


def daily_reports(
    reports: StationReports,
    observed: Sequence[FieldSpec],
    source: StationSourceConfig,
    days: np.ndarray,
    steps: Steps = DAYS,
) -> DailyReports:
    """Check single reports and compute the daily values of some days.

    Args:
        reports: The long table, with a column `error` where reports state errors.
        observed: The `V` channels observed.
        source: The checks, and the conditions for a daily value.
        days: `(N,)` int64 days since 1970-01-01, or float64 times of their steps.
        steps: The steps.
    """
    table, moved = split_moved(reports.table, source.moved_km)
    table = check_reports(table, source.qc)
    rejected = table.loc[~table["accepted"], "reason"].value_counts()
    counts = {"reports": len(table), **{str(k): int(v) for k, v in rejected.items()}}
    daily, few = _values(table, observed, source, steps)
    daily = daily[daily["day"].isin(days)]
    counts.update(few)
    counts["daily values"] = len(daily)
    if "error" in table:
        daily = _with_errors(daily, table, observed, source, steps)
    return DailyReports(table, daily, counts, {**reports.repairs, **moved})


def _with_errors(
    daily: pd.DataFrame,
    table: pd.DataFrame,
    observed: Sequence[FieldSpec],
    source: StationSourceConfig,
    steps: Steps,
) -> pd.DataFrame:
    """Add the errors of daily values: the same means, sums and interpolations as of the values.

    The errors of the reports of a day are thus taken as fully correlated, since most of them are
    errors of representativeness. A report without an error counts as one with the mean error of
    its station and variable on the same level.
    """
    groups = table.assign(level=table["level"].fillna(0.0))
    means = groups.groupby(["station_id", "variable", "level"])["error"].transform("mean")
    table = table.assign(value=table["error"].fillna(means))
    errors, _ = _values(table, observed, source, steps)
    # A sum of missing errors is zero.
    errors = errors.drop(columns="hours_after", errors="ignore")
    errors = errors.rename(columns={"value": "error"})[lambda rows: rows["error"] > 0]
    # Tables without rows may have columns of another type.
    types = {"day": np.int64 if steps.length == 1 else np.float64, "channel": np.int64}
    on = ["station_id", *types]
    return daily.astype(types).merge(errors.astype(types), on=on, how="left")


def _values(
    table: pd.DataFrame, observed: Sequence[FieldSpec], source: StationSourceConfig, steps: Steps
) -> tuple[pd.DataFrame, dict[str, int]]:
    if steps.length == 1:
        return daily_values(table, observed, source)
    return step_values(table, observed, source, steps)
