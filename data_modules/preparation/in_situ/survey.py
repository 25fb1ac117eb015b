"""A look at an archive of station reports before anything is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from data_modules.preparation.gaps import describe_gaps
from data_modules.preparation.in_situ.steps import step_of_reports
from data_modules.sources.stations import open_station_parts
from data_modules.sources.stations.reports.accounting import (
    LeftOut,
    describe_left_out,
    merge_left_out,
)
from data_modules.store.steps import DAYS
from slams.calendar.days import iso_date
from slams.config.schema import StationsConfig
from slams.fields import FieldSpec
from slams.variables import UNITS

__all__ = ["describe_stations"]

# Reports after which no further part of an archive is read.
_ENOUGH = 500_000
# Reports of precipitation are amounts over the hours that they state.
_UNITS = UNITS | {"total_precipitation_24hr": "mm"}


@dataclass
class _Seen:
    """What was read of one variable."""

    number: int = 0
    rejected: int = 0
    total: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    days: set[int] = field(default_factory=set)

    def add(self, rows: pd.DataFrame) -> None:
        good = rows[rows["accepted"]]
        self.number += len(good)
        self.rejected += len(rows) - len(good)
        if len(good):
            self.total += float(good["value"].sum())
            self.low = min(self.low, float(good["value"].min()))
            self.high = max(self.high, float(good["value"].max()))
            self.days |= set(step_of_reports(good, DAYS).tolist())


def describe_stations(stations: StationsConfig, time: np.ndarray) -> str:
    """Return lines about the reports of the store's days, of which at most some parts are read.

    Args:
        stations: The recipe's section `observations.stations`, with a `source`.
        time: `(N,)` days of the store, since 1970-01-01 00 UTC, or its steps.

    Raises:
        UserError: The archive cannot be read.
    """
    names = list(dict.fromkeys(FieldSpec.parse(v.channel).variable for v in stations.variables))
    first, last = (np.datetime64(int(np.floor(day)), "D") for day in (time[0], time[-1]))
    seen = {name: _Seen() for name in names}
    places: set[str] = set()
    repairs: Counter[str] = Counter()
    conventions: dict[str, str] = {}
    left_out: list[tuple[LeftOut, ...]] = []
    parts = number = 0
    for reports in open_station_parts(stations.source, names, first, last):
        parts, number = parts + 1, number + len(reports.table)
        for name, rows in reports.table.groupby("variable"):
            seen[str(name)].add(rows)
        places |= set(reports.table["station_id"])
        repairs.update(reports.repairs)
        conventions.update(reports.conventions)
        left_out.append(tuple(reports.left_out))
        if number >= _ENOUGH:
            break
    some = f" in its first parts ({parts}), where reading ended" if number >= _ENOUGH else ""
    lines = [f"{stations.source.path}: reports {number}, stations {len(places)}{some}"]
    lines += [_line(name, one) for name, one in seen.items()]
    lines += [f"  {what}: {text}" for what, text in conventions.items()]
    if repairs:
        lines.append("  repaired: " + ", ".join(f"{what} {n}" for what, n in repairs.items()))
    rest = describe_left_out(merge_left_out(left_out), number)
    return "\n".join(lines + ([f"  {rest}"] if rest else []))


def _line(name: str, seen: _Seen) -> str:
    rejected = f"; {seen.rejected} rejected by flags of the archive" if seen.rejected else ""
    if not seen.number:
        return f"  {name}: no report on the days of the store{rejected}"
    days = np.array(sorted(seen.days), dtype=np.float64)
    return (
        f"  {name}: {seen.number} reports, {iso_date(days[0])} to {iso_date(days[-1])}"
        f"{describe_gaps(days) or ', no gaps'}; mean {seen.total / seen.number:.4g}, "
        f"{seen.low:.4g} to {seen.high:.4g} {_UNITS[name]}{rejected}"
    )
