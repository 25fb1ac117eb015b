"""Files of imagery by name: the specifications that recipes are checked with, and their readers.

Each specification here describes one layout (`slams.plugins.imagery_sources`); `readers` has one
module per layout. A reader returns images of days on one grid (`imagery.images`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from slams.plugins.imagery_sources import IMAGERY_SOURCES, ImagerySourceSpec

if TYPE_CHECKING:
    import numpy as np

    from data_modules.sources.imagery.images import Imagery
    from slams.config.schema import SatelliteConfig
    from slams.grid import LatLonGrid

__all__ = ["open_imagery"]


@dataclass(frozen=True)
class _Reader:
    """Function `open_NAME` of the module `readers.NAME`, imported at the first call."""

    name: str

    def __call__(
        self,
        satellite: SatelliteConfig,
        grid: LatLonGrid,
        first: np.datetime64,
        last: np.datetime64,
        key: str,
    ) -> Imagery:
        module = import_module(f"{__name__}.readers.{self.name}")
        read = getattr(module, f"open_{self.name}")
        return read(satellite, grid, first, last, key)


GRIDDED_OLR = ImagerySourceSpec("gridded_olr", _Reader("gridded_olr"))
PIXELS = ImagerySourceSpec("pixels", _Reader("pixels"))


def open_imagery(
    satellite: SatelliteConfig,
    grid: LatLonGrid,
    first: np.datetime64,
    last: np.datetime64,
    key: str = "observations.satellite.source",
) -> Imagery:
    """Open the imagery of a recipe.

    Args:
        satellite: The recipe's section `observations.satellite`, with a `source`.
        grid: The grid of the fields.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: The kind is unknown, the files are missing or have another layout, or they have
            no image of these days.
    """
    spec = IMAGERY_SOURCES.get(satellite.source.kind, f"{key}.kind")
    return spec.open(satellite, grid, first, last, key)
