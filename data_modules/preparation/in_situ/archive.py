"""Real station reports of the training store: stations, daily values, processing counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_modules.observing.observers import StationObserver
from data_modules.preparation.blocks import channel_units
from data_modules.preparation.in_situ.daily import daily_values
from data_modules.preparation.in_situ.positions import merge_same_place, split_moved, thin
from data_modules.preparation.in_situ.quality import buddy_check, check_reports
from data_modules.sources.stations import open_stations
from slams.config.schema import StationQualityConfig, StationsConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser
from slams.observations.networks import Network

__all__ = ["StationDays", "station_days"]

_TERRAIN_CHANNEL = "2m_temperature"


@dataclass(frozen=True)
class StationDays:
    """Daily values of real stations.

    Attributes:
        network: The `P` stations.
        values: `(N, P, V)` float32 channel units, NaN where there is none.
        counts: Numbers of reports, values, and rejections by reason.
        repairs: Number of repairs by kind.
        conventions: The archive's definitions of a day, a value and a flag.
    """

    network: Network
    values: np.ndarray
    counts: Mapping[str, int]
    repairs: Mapping[str, int]
    conventions: Mapping[str, str]

    def lines(self) -> list[str]:
        """Return a summary of the processing, in one or two lines."""
        counted = ", ".join(f"{name} {number}" for name, number in self.counts.items())
        repaired = ", ".join(f"{name} {number}" for name, number in self.repairs.items())
        return [f"stations: {counted}", *([f"repaired: {repaired}"] if repaired else [])]


def station_days(
    stations: StationsConfig,
    channels: Sequence[FieldSpec],
    grid: LatLonGrid,
    time: np.ndarray,
    normaliser: Normaliser,
    terrain: Tensor | None,
) -> StationDays:
    """Read, check, average and thin the reports of a recipe's archive.

    Args:
        stations: The recipe's section `observations.stations`, with a `source`.
        channels: The channels of the store.
        grid: The grid of the store.
        time: `(N,)` days of the store, since 1970-01-01 00 UTC.
        normaliser: Climatology and standard deviations, for the buddy check.
        terrain: `(H, W)` m, or `None`.

    Raises:
        UserError: The archive cannot be read, no station has a value on the store's days, or
            the store has several steps per day.
    """
    source = stations.source
    days = np.floor(time).astype(np.int64)
    if len(np.unique(days)) != len(days):
        raise UserError(
            "observations.stations.source: the store has several steps per day, expected one; "
            "reports are averaged over the UTC day"
        )
    observed = [FieldSpec.parse(v.channel) for v in stations.variables]
    first, last = (np.datetime64(int(d), "D") for d in (days[0], days[-1]))
    reports = open_stations(source, list(dict.fromkeys(s.variable for s in observed)), first, last)
    table, moved = split_moved(reports.table, source.moved_km)
    table = check_reports(table, source.qc)
    rejected = table.loc[~table["accepted"], "reason"].value_counts()
    counts = {"reports": len(table), **{str(k): int(v) for k, v in rejected.items()}}
    daily, few = daily_values(table, observed, source)
    daily = daily[daily["day"].isin(days)]
    counts.update(few)
    counts["daily values"] = len(daily)
    repairs = {**reports.repairs, **moved}
    if daily.empty:
        raise UserError(
            f"observations.stations.source.path: {source.path} has no daily value between {first} "
            f"and {last}, the days of the store ({counts}); check the dates and the conditions "
            f"(quarters, soundings, coverage)"
        )
    places, values = _pivot(table, daily, days, len(observed))
    values = channel_units(values.transpose(0, 2, 1), observed).transpose(0, 2, 1)
    kept = merge_same_place(places, np.isfinite(values).sum(axis=(0, 2)), source.same_place_km)
    _count(counts, "stations at the place of another left out", ~kept)
    places, values = _take(places, values, kept)
    # The seed does not matter: no observations are drawn from this observer.
    observer = StationObserver(stations, 0, tuple(channels), grid, terrain, _network(places))
    _check_height(values, observed, places, grid, terrain, source.height_difference, counts)
    _check_buddies(values, observer, days, normaliser, source.qc, counts)
    there = np.isfinite(values).any(axis=(0, 2))
    _count(counts, "stations without a value left", ~there)
    places, values = _take(places, values, there)
    if places.empty:
        raise UserError(
            f"observations.stations.source: no value of {source.path} passed the checks "
            f"({counts}); check units and limits"
        )
    kept = thin(places, np.isfinite(values).sum(axis=(0, 2)), source.thinning_km)
    _count(counts, "stations thinned out", ~kept)
    places, values = _take(places, values, kept)
    counts["stations"] = len(places)
    counts["values"] = int(np.isfinite(values).sum())
    return StationDays(
        network=_network(places),
        values=values.astype(np.float32),
        counts={k: int(v) for k, v in counts.items()},
        repairs=repairs,
        conventions=reports.conventions,
    )


def _pivot(
    table: pd.DataFrame, daily: pd.DataFrame, days: np.ndarray, variables: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the positions of the `P` stations, sorted by name, and values `(N, P, V)`."""
    places = (
        table[table["station_id"].isin(daily["station_id"].unique())]
        .drop_duplicates("station_id")
        .sort_values("station_id", ignore_index=True)[
            ["station_id", "latitude", "longitude", "elevation"]
        ]
    )
    values = np.full((len(days), len(places), variables), np.nan)
    station = pd.Index(places["station_id"]).get_indexer(daily["station_id"])
    day = pd.Index(days).get_indexer(daily["day"])
    values[day, station, daily["channel"].to_numpy(dtype=np.int64)] = daily["value"]
    return places, values


def _network(places: pd.DataFrame) -> Network:
    columns = {
        name: torch.from_numpy(places[name].to_numpy(dtype=np.float64).copy())
        for name in ("latitude", "longitude", "elevation")
    }
    return Network(id=tuple(places["station_id"]), **columns)


def _check_height(
    values: np.ndarray,
    observed: Sequence[FieldSpec],
    places: pd.DataFrame,
    grid: LatLonGrid,
    terrain: Tensor | None,
    limit: float,
    counts: dict[str, int],
) -> None:
    """Remove 2 m temperatures of stations too far above or below the model's terrain."""
    if limit <= 0 or terrain is None:
        return
    index, weight = grid.interpolation(
        *(torch.from_numpy(places[n].to_numpy().copy()) for n in ("latitude", "longitude"))
    )
    model = (terrain.double().reshape(-1)[index] * weight).sum(dim=-1).numpy()
    far = np.abs(places["elevation"].to_numpy() - model) > limit
    for number, spec in enumerate(observed):
        if spec.variable == _TERRAIN_CHANNEL:
            _count(counts, "height: too far from the terrain", np.isfinite(values[:, far, number]))
            values[:, far, number] = np.nan


def _check_buddies(
    values: np.ndarray,
    observer: StationObserver,
    days: np.ndarray,
    normaliser: Normaliser,
    qc: StationQualityConfig,
    counts: dict[str, int],
) -> None:
    """Remove temperatures that fail the buddy check."""
    if qc.buddy_km <= 0:
        return
    network = observer.network
    # One day at a time: the climatology of all days may not fit into memory.
    climatology = {name: [] for name in observer.operators}
    for day in days:
        state = normaliser.climatology(torch.tensor([[float(day)]]))[0, 0]
        for name, operator in observer.operators.items():
            climatology[name].append(operator(state).numpy())
    for number, (name, operator) in enumerate(observer.operators.items()):
        if observer.bounds[name] == 0.0:
            continue
        spread = operator.linear(normaliser.sd).numpy()
        error = torch.as_tensor(observer.errors[name]).numpy()
        wrong = buddy_check(
            values[..., number] - np.stack(climatology[name]),
            np.sqrt(spread**2 + error**2),
            network.latitude.numpy(),
            network.longitude.numpy(),
            qc.buddy_km,
            qc.buddy_limit,
        )
        _count(counts, "buddy", wrong)
        values[..., number][wrong] = np.nan


def _take(
    places: pd.DataFrame, values: np.ndarray, kept: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray]:
    return places[kept].reset_index(drop=True), values[:, kept]


def _count(counts: dict[str, int], what: str, marked: np.ndarray) -> None:
    if marked.any():
        counts[what] = counts.get(what, 0) + int(marked.sum())
