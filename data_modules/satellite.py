"""The LightningDataModule of satellite imagery."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from data_modules.observing.observers import SatelliteObserver
from data_modules.observing.stored import check_drawn, streamed
from data_modules.reanalysis import ReanalysisDataModule
from data_modules.store.training_store import TrainingStore
from slams.config.schema import DataConfig, ObservationsConfig
from slams.fields import Batch, ObservationOperator, Observations, Window

__all__ = ["SatelliteDataModule"]


class SatelliteDataModule(ReanalysisDataModule):
    """DataModule of fields with satellite imagery, drawn from the truth or read from the store.

    Args:
        data: The recipe's section `data`.
        observations: The recipe's section `observations`.
        seed: The experiment's seed.
        store: As for `ReanalysisDataModule`.
        batch_size: As for `ReanalysisDataModule`.
        test_batch_size: As for `ReanalysisDataModule`.

    Raises:
        UserError: The footprint does not divide the grid, an error is negative, the channel does
            not exist, or the store's imagery was made from another recipe.
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
            check_drawn(self.store, observations, seed, "satellite")
        self.observer = SatelliteObserver(observations.satellite, seed, self.channels, self.grid)

    def operators(self) -> dict[str, ObservationOperator]:
        """Return `H` of the imagery, by name `satellite/CHANNEL`."""
        return dict(self.observer.operators)

    def observe(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Return the imagery of a window, inside the swaths of its days.

        Args:
            window: The window, on the device of the result.
            truth: `(B, T, C, H, W)` channel units.
            mask: `(B, T, C, H, W)` bool, True where the truth is known.
        """
        observer = self.observer
        if window.satellite is not None:
            values = window.satellite.unsqueeze(-1)
            return tuple(
                replace(o, error_variance=observer.error_variance(o, window.time))
                for o in streamed(observer.operators, observer.errors, values)
            )
        return observer(truth, mask, window.time, window.case)

    def streams(self, split: str) -> tuple[str, ...]:
        """Return the names of the store's arrays that a split streams; empty while training."""
        return ("satellite",) if self._stored and split != "train" else ()

    def _observe(
        self, window: Window, truth: Tensor, mask: Tensor, batch: Batch
    ) -> tuple[Observations, ...]:
        return self.observe(window, truth, mask)
