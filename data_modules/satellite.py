"""The LightningDataModule of satellite imagery."""

from __future__ import annotations

from data_modules.observing.observers import SatelliteObserver
from data_modules.reanalysis import ObservedDataModule
from slams.config.schema import ObservationsConfig

__all__ = ["SatelliteDataModule"]


class SatelliteDataModule(ObservedDataModule):
    """DataModule of fields with satellite imagery inside the swaths of each day.

    The arguments are those of `ObservedDataModule`.

    Raises:
        UserError: The footprint does not divide the grid, an error is negative, the channel does
            not exist, or the store's imagery was made from another recipe.
    """

    modality = "satellite"

    def _make_observer(self, observations: ObservationsConfig) -> SatelliteObserver:
        return SatelliteObserver(observations.satellite, self.seed, self.channels, self.grid)
