"""Real station reports of the training store: an archive, read and processed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from data_modules.preparation.in_situ.checked import DailyReports, daily_reports
from data_modules.preparation.in_situ.network import StationDays, station_network
from data_modules.sources.stations import open_station_parts
from data_modules.sources.stations.reports.accounting import LeftOut, merge_left_out
from data_modules.store.steps import DAYS, Steps
from slams.config.schema import StationsConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser

__all__ = ["station_days"]


def station_days(
    stations: StationsConfig,
    channels: Sequence[FieldSpec],
    grid: LatLonGrid,
    time: np.ndarray,
    normaliser: Normaliser,
    terrain: Tensor | None,
    steps: Steps = DAYS,
) -> StationDays:
    """Read, check, average and thin the reports of a recipe's archive.

    Args:
        stations: The recipe's section `observations.stations`, with a `source`.
        channels: The channels of the store.
        grid: The grid of the store.
        time: `(N,)` days of the store, since 1970-01-01 00 UTC, or its steps.
        normaliser: Climatology and standard deviations, for the buddy check.
        terrain: `(H, W)` m, or `None`.
        steps: The steps of the store.

    Raises:
        UserError: The archive cannot be read, no station has a value on the store's days, or
            the source has several values per step.
    """
    source = stations.source
    days = np.floor(time).astype(np.int64) if steps.length == 1 else time
    if len(np.unique(days)) != len(days):
        raise UserError(
            "observations.stations.source: the store has several steps per day, expected one; "
            "reports are averaged over the UTC day"
        )
    observed = [FieldSpec.parse(v.channel) for v in stations.variables]
    # Of the first step also the reports within half a step before it.
    begin = int(np.floor(days[0] - (steps.length / 2 if steps.length < 1 else 0)))
    first, last = (np.datetime64(int(np.floor(d)), "D") for d in (begin, days[-1]))
    variables = list(dict.fromkeys(s.variable for s in observed))
    conventions: dict[str, str] = {}
    left_out: list[Sequence[LeftOut]] = []

    def parts() -> Iterator[DailyReports]:
        for reports in open_station_parts(source, variables, first, last):
            conventions.update(reports.conventions)
            left_out.append(reports.left_out)
            yield daily_reports(reports, observed, source, days, steps)

    checked = station_network(parts(), stations, channels, grid, days, normaliser, terrain)
    if checked.network is None and not checked.counts["daily values"]:
        raise UserError(
            f"observations.stations.source.path: {source.path} has no daily value between {first} "
            f"and {last}, the days of the store ({dict(checked.counts)}); check the dates and the "
            f"conditions (quarters, soundings, coverage)"
        )
    if checked.network is None:
        raise UserError(
            f"observations.stations.source: no value of {source.path} passed the checks "
            f"({checked.counts}); check units and limits"
        )
    return replace(checked, conventions=conventions, left_out=merge_left_out(left_out))
