"""The LightningDataModule of satellite imagery."""

from __future__ import annotations

from torch import Tensor

from data_modules.observing.images import ERRORS, ImageObserver, read_image_grid
from data_modules.observing.observers import Observer, SatelliteObserver
from data_modules.reanalysis import ObservedDataModule
from slams.config.schema import ObservationsConfig
from slams.fields import Observations, Window

__all__ = ["SatelliteDataModule"]


class SatelliteDataModule(ObservedDataModule):
    """DataModule of fields with imagery, drawn inside the swaths of each day or from files.

    The arguments are those of `ObservedDataModule`.

    Raises:
        UserError: The footprint does not divide the grid, an error is negative, the channel does
            not exist, or the store's imagery was made from another recipe.
    """

    modality = "satellite"

    def streams(self, split: str) -> tuple[str, ...]:
        """Return the names of the store's arrays that a split streams; empty while training."""
        names = super().streams(split)
        return (*names, ERRORS) if names and self.store.has(ERRORS) else names

    def observe(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Return the observations of a window that are assimilated, see `ObservedDataModule`."""
        if window.satellite is None or not isinstance(self.observer, ImageObserver):
            return super().observe(window, truth, mask)
        return self.observer.with_errors(window.satellite, window.satellite_errors, window.time)

    def _make_observer(self, observations: ObservationsConfig) -> Observer:
        satellite = observations.satellite
        if satellite.source.kind:
            # The grid of real images is known once they are prepared.
            image = read_image_grid(self.store)
            return ImageObserver(satellite, self.channels, self.grid, image, self.seed)
        return SatelliteObserver(satellite, self.seed, self.channels, self.grid, self.store.step)
