"""Stations with daily values: checks of position, height and neighbours, and thinning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_modules.observing.observers import StationObserver
from data_modules.preparation.in_situ.checked import DailyReports
from data_modules.preparation.in_situ.daily_arrays import daily_arrays
from data_modules.preparation.in_situ.positions import merge_same_place, thin
from data_modules.preparation.in_situ.quality import buddy_check
from data_modules.sources.stations.reports.accounting import LeftOut, describe_left_out
from slams.config.schema import StationQualityConfig, StationsConfig
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser
from slams.observations.networks import Network

__all__ = ["StationDays", "station_network"]

_TERRAIN_CHANNEL = "2m_temperature"


@dataclass(frozen=True)
class StationDays:
    """Daily values of real stations.

    Attributes:
        network: The `P` stations; `None` where no value is left.
        values: `(N, P, V)` float32 channel units, NaN where there is none; on the days from the
            first to the last that has a value.
        counts: Numbers of reports, values, and rejections by reason.
        repairs: Number of repairs by kind.
        conventions: The archive's definitions of a day, a value and a flag.
        errors: `(N, P, V)` standard deviations that the reports state (channel units), NaN where
            they do not; `None` where no report does.
        rejected: `V` numbers of daily values that were left out, by reason.
        first: Position of the first of the `N` days in the store.
        left_out: Reports of the archive that could not be used, by reason.
        hours: `(N, P, V)` hours from the time of the step to that of the value, NaN where there is
            none; `None` for values of days.
    """

    network: Network | None
    values: np.ndarray
    counts: Mapping[str, int]
    repairs: Mapping[str, int]
    conventions: Mapping[str, str]
    errors: np.ndarray | None = None
    rejected: Sequence[Mapping[str, int]] = ()
    first: int = 0
    left_out: Sequence[LeftOut] = ()
    hours: np.ndarray | None = None

    def lines(self) -> list[str]:
        """Return a summary of the processing, in up to three lines."""
        counted = ", ".join(f"{name} {number}" for name, number in self.counts.items())
        repaired = ", ".join(f"{name} {number}" for name, number in self.repairs.items())
        left_out = describe_left_out(self.left_out, self.counts.get("reports", 0))
        return [
            f"stations: {counted}",
            *([f"repaired: {repaired}"] if repaired else []),
            *([left_out] if left_out else []),
        ]


def station_network(
    parts: Iterable[DailyReports],
    stations: StationsConfig,
    channels: Sequence[FieldSpec],
    grid: LatLonGrid,
    days: np.ndarray,
    normaliser: Normaliser,
    terrain: Tensor | None,
) -> StationDays:
    """Check daily values against one another and the terrain, and thin the stations.

    Args:
        parts: Daily values of the channels of `stations.variables`, all those of a station in
            one part.
        stations: The section `observations.stations`.
        channels: The channels of the model.
        grid: The grid of the model.
        days: `(N,)` days of the store since 1970-01-01, or the times of its steps.
        normaliser: Climatology and standard deviations, for the buddy check.
        terrain: `(H, W)` m, or `None`.
    """
    source = stations.source
    observed = [FieldSpec.parse(v.channel) for v in stations.variables]
    found = daily_arrays(parts, observed, days)
    places, values, errors, hours = found.places, found.values, found.errors, found.hours
    counts = _Counts(dict(found.counts), [{} for _ in observed])
    if places.empty:
        return StationDays(None, values, counts.total, found.repairs, {}, None, counts.by_channel)
    days = days[found.first : found.first + len(values)]

    def keep(kept: np.ndarray, what: str) -> None:
        nonlocal places, values, errors, hours
        counts.stations(what, values, ~kept)
        places = places[kept].reset_index(drop=True)
        values = values[:, kept]
        errors = None if errors is None else errors[:, kept]
        hours = None if hours is None else hours[:, kept]

    kept = merge_same_place(places, np.isfinite(values).sum(axis=(0, 2)), source.same_place_km)
    keep(kept, "stations at the place of another left out")
    # The seed does not matter: no observations are drawn from this observer.
    observer = StationObserver(stations, 0, tuple(channels), grid, terrain, _network(places))
    _check_height(values, observed, places, grid, terrain, source.height_difference, counts)
    _check_buddies(values, observer, days, normaliser, source.qc, counts)
    keep(np.isfinite(values).any(axis=(0, 2)), "stations without a value left")
    if not places.empty:
        kept = thin(places, np.isfinite(values).sum(axis=(0, 2)), source.thinning_km)
        keep(kept, "stations thinned out")
        counts.total["stations"] = len(places)
        counts.total["values"] = int(np.isfinite(values).sum())
    return StationDays(
        network=None if places.empty else _network(places),
        values=values.astype(np.float32),
        counts={k: int(v) for k, v in counts.total.items()},
        repairs=found.repairs,
        conventions={},
        errors=errors,
        rejected=counts.by_channel,
        first=found.first,
        hours=None if hours is None else np.where(np.isfinite(values), hours, np.nan),
    )


@dataclass
class _Counts:
    """Numbers of what is left out by reason: in all, and values of each channel."""

    total: dict[str, int]
    by_channel: list[dict[str, int]]

    def values(self, what: str, marked: np.ndarray, channel: int) -> None:
        """Count marked values of a channel."""
        self._add(self.total, what, int(marked.sum()))
        self._add(self.by_channel[channel], what, int(marked.sum()))

    def stations(self, what: str, values: np.ndarray, marked: np.ndarray) -> None:
        """Count `(P,)` marked stations, and by channel their values `(N, P, V)`."""
        self._add(self.total, what, int(marked.sum()))
        for channel, own in enumerate(self.by_channel):
            self._add(own, what, int(np.isfinite(values[:, marked, channel]).sum()))

    @staticmethod
    def _add(counts: dict[str, int], what: str, number: int) -> None:
        if number:
            counts[what] = counts.get(what, 0) + number


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
    counts: _Counts,
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
            there = np.isfinite(values[:, far, number])
            counts.values("height: too far from the terrain", there, number)
            values[:, far, number] = np.nan


def _check_buddies(
    values: np.ndarray,
    observer: StationObserver,
    days: np.ndarray,
    normaliser: Normaliser,
    qc: StationQualityConfig,
    counts: _Counts,
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
        counts.values("buddy", wrong, number)
        values[..., number][wrong] = np.nan
