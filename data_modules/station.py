"""The LightningDataModule of weather stations."""

from __future__ import annotations

import torch
from torch import Tensor

from data_modules.drawing import check_drawn
from data_modules.observers import StationObserver, streamed
from data_modules.reanalysis import ReanalysisDataModule
from data_modules.stores import TrainingStore
from slams.fields import Batch, ObservationOperator, Observations, Window
from slams.observations.networks import Network
from slams.schema import Config

__all__ = ["StationDataModule"]


class StationDataModule(ReanalysisDataModule):
    """Gives fields with station observations, drawn from the truth or streamed from the store.

    Args:
        config: The recipe.
        store: An open store; by default the one the recipe names.
        batch_size: Cases a batch; by default as the recipe says.

    Raises:
        UserError: A station lies outside the globe, an error is negative, a channel is not
            there, or the store's observations are not those of the recipe.
    """

    def __init__(
        self, config: Config, store: TrainingStore | None = None, batch_size: int | None = None
    ) -> None:
        super().__init__(config, store, batch_size)
        if config.observations.source == "store":
            check_drawn(self.store, config, "stations")
        terrain = self.store.elevation
        self.observer = StationObserver(
            config,
            self.channels,
            self.grid,
            None if terrain is None else torch.from_numpy(terrain),
        )

    @property
    def network(self) -> Network:
        """Gives the stations."""
        return self.observer.network

    def operators(self) -> dict[str, ObservationOperator]:
        """Gives `H` of each station variable, by name `stations/CHANNEL`."""
        return dict(self.observer.operators)

    def observe(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Gives the stations' observations of a window.

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
        """Names the arrays of the store that a split streams: none while training."""
        from_store = self.config.observations.source == "store" and split != "train"
        return ("stations",) if from_store else ()

    def _observe(
        self, window: Window, truth: Tensor, mask: Tensor, batch: Batch
    ) -> tuple[Observations, ...]:
        return self.observe(window, truth, mask)
