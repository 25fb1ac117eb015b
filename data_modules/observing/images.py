"""Imagery from files in a training store: its grid, its arrays, and its observer.

    satellite_latitude (y), satellite_longitude (x)  float64 degrees, centres of the cells
    satellite_bounds (y + 1)                         float64 degrees, where rows begin and end
    satellite_spacing (1)                            float64 degrees, width of the cells
    satellite (time, satellite_channel, y, x)        float32 channel units, NaN in gaps
    satellite_errors (...)                           float32 channel units, standard deviation
    satellite_counts (...)                           float32, pixels or times averaged; only where
    satellite_hours (...)                            several are, with their mean time (hours UTC)

The attributes of `satellite` are its channel and units, the number of values
`used`, what was `left_out`, and `notes`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import zarr
from torch import Tensor

from data_modules.observing.observers import Observer, with_errors
from data_modules.store.training_store import TrainingStore
from data_modules.store.writing import create_steps
from slams.config.schema import SatelliteConfig
from slams.fields import FieldSpec, Observations
from slams.grid import LatLonGrid
from slams.observations.image_cells import ImageCellOperator, ImageGrid

__all__ = ["ERRORS", "ImageObserver", "create_images", "read_image_grid"]

ERRORS = "satellite_errors"
_GRID = {
    "satellite_latitude": ("latitude", "y"),
    "satellite_longitude": ("longitude", "x"),
    "satellite_bounds": ("bounds", "y_bounds"),
    "satellite_spacing": ("spacing", "spacing"),
}


class ImageObserver(Observer):
    """Observer of images from files: means of the fields over the cells of the images.

    Args:
        satellite: The recipe's section `observations.satellite`.
        channels: The channels of the fields.
        grid: The grid of the fields.
        image: The grid of the images.
        seed: The experiment's seed, by which errors are drawn where values are.

    Attributes:
        operators: `H`, by name `satellite/CHANNEL`.
        errors: Standard deviation of the error where an image states none.

    Raises:
        UserError: The channel does not exist.
    """

    def __init__(
        self,
        satellite: SatelliteConfig,
        channels: tuple[FieldSpec, ...],
        grid: LatLonGrid,
        image: ImageGrid,
        seed: int = 0,
    ) -> None:
        name = f"satellite/{satellite.channel}"
        self._seed = seed
        self.operators = {name: ImageCellOperator(grid, channels, satellite.channel, image)}
        self.errors, self.bounds = {name: satellite.error}, {name: -math.inf}

    def stored(self, values: Tensor, time: Tensor) -> tuple[Observations, ...]:
        """Return images read from the store, `(B, T, P)`; see `Observer`."""
        return super().stored(values.unsqueeze(-1), time)

    def with_errors(
        self, values: Tensor, errors: Tensor | None, time: Tensor
    ) -> tuple[Observations, ...]:
        """Return images with their errors, `(B, T, P)` each, see `stored`."""
        found = self.stored(values, time)
        return found if errors is None else tuple(with_errors(one, errors) for one in found)

    def _seen(self, truth: Tensor, time: Tensor, case: Tensor) -> Tensor:
        # Drawn values, as for a measurement of memory, see every cell.
        (operator,) = self.operators.values()
        return torch.ones(*time.shape, len(operator), dtype=torch.bool, device=truth.device)


def create_images(
    group: zarr.Group,
    channel: FieldSpec,
    image: ImageGrid,
    steps: int,
    names: tuple[str, ...],
) -> dict[str, zarr.Array]:
    """Write the grid of images and create their arrays.

    Args:
        group: The store.
        channel: The channel that they show.
        image: Their grid.
        steps: Days of the store.
        names: Names of the arrays, `satellite` and others beside it.
    """
    for name, (part, dimension) in _GRID.items():
        group.create_array(
            name,
            data=np.atleast_1d(np.asarray(getattr(image, part), dtype=np.float64)),
            dimension_names=(dimension,),
            attributes={"units": "degrees"},
        )
    own = {"channels": [channel.name], "units": [channel.channel_units]}
    dims = ("time", "satellite_channel", "y", "x")
    return {
        name: create_steps(
            group,
            name,
            (steps, 1, *image.shape),
            dims,
            own if name == "satellite" else {},
        )
        for name in names
    }


def read_image_grid(store: TrainingStore) -> ImageGrid:
    """Read the grid of the images of a store.

    Raises:
        UserError: A file of it is missing or corrupt.
    """
    parts = {
        part: torch.from_numpy(store.read_small(name, np.float64))
        for name, (part, _) in _GRID.items()
    }
    spacing = float(parts.pop("spacing")[0])
    return ImageGrid(**parts, spacing=spacing)
