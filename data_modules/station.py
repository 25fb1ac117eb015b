"""The LightningDataModule of weather stations.

Every station of the recipe is observed; held-out stations are separated afterwards, so that the
values of the others do not depend on them.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from data_modules.observing.observers import StationObserver, with_errors
from data_modules.observing.station_arrays import ERRORS, read_stations
from data_modules.reanalysis import ObservedDataModule
from slams.config.schema import ObservationsConfig
from slams.fields import ObservationOperator, Observations, Window
from slams.observations.networks import Network
from slams.observations.stations import StationOperator

__all__ = ["StationDataModule"]


class StationDataModule(ObservedDataModule):
    """DataModule of fields with station observations, of which some may be held out.

    The arguments are those of `ObservedDataModule`.

    Raises:
        UserError: A station has impossible coordinates, an error is negative, a channel does not
            exist, or the store's observations were made from another recipe.
    """

    modality = "stations"

    def _make_observer(self, observations: ObservationsConfig) -> StationObserver:
        stations, terrain = observations.stations, self.store.elevation
        observer = StationObserver(
            stations,
            self.seed,
            self.channels,
            self.grid,
            None if terrain is None else torch.from_numpy(terrain),
            # The positions of real reports are known once they are prepared.
            read_stations(self.store) if stations.source.kind else None,
        )
        whole = observer.network
        kept, held = whole.split(stations.held_out, self.seed)
        self._network = _Part(whole, kept, observer.operators)
        self._held_out = _Part(whole, held, observer.operators) if len(held) else None
        return observer

    @property
    def network(self) -> Network:
        """Return the stations that are assimilated."""
        return self._network.network

    @property
    def held_out_network(self) -> Network | None:
        """Return the stations that are held out, or `None` when all are assimilated."""
        return None if self._held_out is None else self._held_out.network

    def operators(self) -> dict[str, ObservationOperator]:
        """Return `H` of each station variable that is assimilated, by name `stations/CHANNEL`."""
        return dict(self._network.operators)

    def streams(self, split: str) -> tuple[str, ...]:
        """Return the names of the store's arrays that a split streams; empty while training."""
        names = super().streams(split)
        return (*names, ERRORS) if names and self.store.has(ERRORS) else names

    def observe(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Return the observations of a window that are assimilated, see `ObservedDataModule`."""
        return self._network.take(self._observed(window, truth, mask))

    def hold_out(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Return the held-out observations of a window; arguments as for `observe`."""
        if self._held_out is None:
            return ()
        return self._held_out.take(self._observed(window, truth, mask))

    def _observed(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Return the observations of all stations, with their own errors where they state them."""
        found = super().observe(window, truth, mask)
        if window.station_errors is None:
            return found
        return tuple(
            with_errors(one, window.station_errors[..., number])
            for number, one in enumerate(found)
        )

    def _hold_out(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        return self.hold_out(window, truth, mask)


class _Part:
    """A subset of the stations.

    Args:
        whole: All stations.
        stations: `(Q,)` int64, indices of the subset.
        operators: `H` of all stations, by name.
    """

    def __init__(
        self, whole: Network, stations: Tensor, operators: dict[str, StationOperator]
    ) -> None:
        self.network, self._stations = whole.select(stations), stations
        self.operators = {name: h.select(stations) for name, h in operators.items()}

    def take(self, observations: tuple[Observations, ...]) -> tuple[Observations, ...]:
        """Return the subset of the observations of all stations."""
        found = []
        for o in observations:
            stations = self._stations.to(o.values.device)
            found.append(
                replace(
                    o,
                    operator=self.operators[o.name].to(o.values.device),
                    values=o.values[..., stations],
                    mask=o.mask[..., stations],
                    error_variance=o.error_variance[..., stations],
                )
            )
        return tuple(found)
