"""Quality control of station reports: range, step and buddy check.

* Range: a value outside the physical limits of the variable is rejected.
* Step: with `v` the values of one station in time, `v_i` is a spike when it is more than `L`
  above both its neighbours, or below both; `L = step` for neighbours up to 6 hours away, `2 step`
  up to 36 hours; neighbours further away are ignored, and without two neighbours there is no
  check.
* Buddy: with `d = y - H(climatology)` the departures of one day, `s` the climatology's standard
  deviation at the station and `r` the observation error, a value is rejected when

      |d_i - median_j d_j| > limit sqrt(s_i^2 + r_i^2),    j the neighbours within a distance,

  if there are at least three neighbours. The median tolerates a minority of wrong neighbours, so
  one pass is enough.

Only temperatures are compared with neighbours in time and space: rain is not smooth.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from data_modules.preparation.in_situ.positions import neighbours
from data_modules.sources.stations.reports.ranges import RANGES
from slams.config.schema import StationQualityConfig

__all__ = ["buddy_check", "check_reports"]

_SMOOTH = ("temperature", "2m_temperature")
_NEAR, _FAR = np.timedelta64(6, "h"), np.timedelta64(36, "h")
_FEWEST = 3


def check_reports(table: pd.DataFrame, config: StationQualityConfig) -> pd.DataFrame:
    """Reject spikes and reports that are out of range.

    Args:
        table: Long table of `sources.stations.reports.table`.
        config: The checks to apply, and their limits.

    Returns:
        The sorted table: `accepted` is False and `reason` names the check for rejected reports,
        including those rejected before.
    """
    table = table.sort_values(
        ["station_id", "variable", "level", "time", "hours"], kind="stable", ignore_index=True
    )
    if config.range:
        low = table["variable"].map({k: v[0] for k, v in RANGES.items()})
        high = table["variable"].map({k: v[1] for k, v in RANGES.items()})
        table = _reject(table, ~table["value"].between(low, high), "range")
    if config.step > 0:
        table = _reject(table, _spikes(table, config.step), "step")
    return table


def buddy_check(
    departures: np.ndarray,
    scale: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
    radius_km: float,
    limit: float,
) -> np.ndarray:
    """Compare each station's departure with those of its neighbours.

    Args:
        departures: `(N, P)` observation minus climatology, NaN where there is none.
        scale: `(P,)` or `(N, P)` standard deviation by which differences are scaled.
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east.
        radius_km: Distance (km) within which stations are neighbours.
        limit: Largest accepted difference (standard deviations).

    Returns:
        `(N, P)` bool, True where rejected.
    """
    rejected = np.zeros(departures.shape, dtype=bool)
    scale = np.broadcast_to(scale, departures.shape)
    for station, near in enumerate(neighbours(latitude, longitude, radius_km)):
        others = departures[:, [n for n in near if n != station]]
        enough = np.isfinite(others).sum(axis=1) >= _FEWEST
        if not enough.any():
            continue
        with warnings.catch_warnings():
            # Days without any neighbour, excluded by `enough` below.
            warnings.simplefilter("ignore", RuntimeWarning)
            middle = np.nanmedian(others, axis=1)
        far = np.abs(departures[:, station] - middle) > limit * scale[:, station]
        rejected[:, station] = enough & far
    return rejected


def _reject(table: pd.DataFrame, wrong: pd.Series, reason: str) -> pd.DataFrame:
    # Reports that were rejected before, NaN among them, keep their reason.
    wrong = wrong & table["accepted"]
    return table.assign(
        accepted=table["accepted"] & ~wrong, reason=table["reason"].mask(wrong, reason)
    )


def _spikes(table: pd.DataFrame, step: float) -> pd.Series:
    """Return a mask of values beyond both neighbours of the same station, variable and level."""
    good = table[table["accepted"] & table["variable"].isin(_SMOOTH)]
    # NaN levels form one group: groupby would drop missing keys.
    groups = good.assign(level=good["level"].fillna(0.0)).groupby(
        ["station_id", "variable", "level", "hours"], sort=False
    )
    beyond = {}
    for side in (1, -1):
        other = groups[["value", "time"]].shift(side)
        apart = (good["time"] - other["time"]).abs()
        limit = np.where(apart <= _NEAR, step, 2 * step)
        limit = np.where(apart <= _FAR, limit, np.inf)
        difference = good["value"] - other["value"]
        beyond[side] = np.sign(difference).where(difference.abs() > limit, 0.0)
    spike = beyond[1].ne(0) & beyond[1].eq(beyond[-1])
    return spike.reindex(table.index, fill_value=False)
