"""The LightningDataModule of weather stations.

Every station of the recipe is observed; held-out stations are separated afterwards, so that the
values of the others do not depend on them.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from data_modules.observing.observers import StationObserver
from data_modules.observing.station_arrays import read_stations
from data_modules.observing.stored import check_drawn, streamed
from data_modules.reanalysis import ReanalysisDataModule
from data_modules.store.training_store import TrainingStore
from slams.config.schema import DataConfig, ObservationsConfig
from slams.fields import Batch, ObservationOperator, Observations, Window
from slams.observations.networks import Network
from slams.observations.stations import StationOperator

__all__ = ["StationDataModule"]


class StationDataModule(ReanalysisDataModule):
    """DataModule of fields with station observations, drawn from the truth or read from the store.

    Args:
        data: The recipe's section `data`.
        observations: The recipe's section `observations`.
        seed: The experiment's seed.
        store: As for `ReanalysisDataModule`.
        batch_size: As for `ReanalysisDataModule`.
        test_batch_size: As for `ReanalysisDataModule`.

    Raises:
        UserError: A station has impossible coordinates, an error is negative, a channel does not
            exist, or the store's observations were made from another recipe.
    """

    def __init__(
        self,
        data: DataConfig,
        observations: ObservationsConfig,
        seed: int,
        *,
        store: TrainingStore | None = None,
        batch_size: int | None = None,
        test_batch_size: int | None = None,
    ) -> None:
        super().__init__(
            data, seed, store=store, batch_size=batch_size, test_batch_size=test_batch_size
        )
        self._stored = observations.source == "store"
        if self._stored:
            check_drawn(self.store, observations, seed, "stations")
        stations, terrain = observations.stations, self.store.elevation
        self.observer = StationObserver(
            stations,
            seed,
            self.channels,
            self.grid,
            None if terrain is None else torch.from_numpy(terrain),
            # The positions of real reports are known once they are prepared.
            read_stations(self.store) if stations.source.kind else None,
        )
        whole = self.observer.network
        kept, held = whole.split(stations.held_out, seed)
        self._network = _Part(whole, kept, self.observer.operators)
        self._held_out = _Part(whole, held, self.observer.operators) if len(held) else None

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

    def observe(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Return the observations of a window that are assimilated.

        Args:
            window: The window, on the device of the result.
            truth: `(B, T, C, H, W)` channel units.
            mask: `(B, T, C, H, W)` bool, True where the truth is known.
        """
        return self._network.take(self._observe_all(window, truth, mask))

    def hold_out(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Return the held-out observations of a window; arguments as for `observe`."""
        if self._held_out is None:
            return ()
        return self._held_out.take(self._observe_all(window, truth, mask))

    def _observe_all(
        self, window: Window, truth: Tensor, mask: Tensor
    ) -> tuple[Observations, ...]:
        """Return the observations of all stations.

        Args:
            window: The window, on the device of the result.
            truth: `(B, T, C, H, W)` channel units.
            mask: `(B, T, C, H, W)` bool, True where the truth is known.
        """
        observer = self.observer
        if window.stations is not None:
            return streamed(observer.operators, observer.errors, window.stations, observer.bounds)
        return observer(truth, mask, window.time, window.case)

    def streams(self, split: str) -> tuple[str, ...]:
        """Return the names of the store's arrays that a split streams; empty while training."""
        return ("stations",) if self._stored and split != "train" else ()

    def _observe(
        self, window: Window, truth: Tensor, mask: Tensor, batch: Batch
    ) -> tuple[Observations, ...]:
        return self.observe(window, truth, mask)

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
