"""Files of imagery by name: the specifications that recipes are checked with, and their readers.

Each specification here describes one layout (`slams.plugins.imagery_sources`); `readers` has one
module per layout. A reader returns images of days on one grid (`imagery.images`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from slams.calendar.steps import describe_step
from slams.errors import UserError
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
        step: float = 1.0,
        instant: bool = False,
    ) -> Imagery:
        module = import_module(f"{__name__}.readers.{self.name}")
        read = getattr(module, f"open_{self.name}")
        return read(satellite, grid, first, last, key, step, instant)


GRIDDED_OLR = ImagerySourceSpec("gridded_olr", _Reader("gridded_olr"), any_step=True)
PIXELS = ImagerySourceSpec("pixels", _Reader("pixels"), any_step=True)


def open_imagery(
    satellite: SatelliteConfig,
    grid: LatLonGrid,
    first: np.datetime64,
    last: np.datetime64,
    key: str = "observations.satellite.source",
    step: float = 1.0,
    instant: bool = False,
) -> Imagery:
    """Open the imagery of a recipe.

    Args:
        satellite: The recipe's section `observations.satellite`, with a `source`.
        grid: The grid of the fields.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the source in the recipe, for messages.
        step: Length (days) of the steps of the store.
        instant: Whether the store holds instants of the channel.

    Raises:
        UserError: The kind is unknown or has images of days only, the files are missing or have
            another layout, or they have no image of these days.
    """
    spec = IMAGERY_SOURCES.get(satellite.source.kind, f"{key}.kind")
    if step == 1:
        return spec.open(satellite, grid, first, last, key)
    if not spec.any_step:
        raise UserError(
            f"{key}.kind: {satellite.source.kind} has images of days, expected data.step to be "
            f"24h; found {describe_step(step)}"
        )
    return spec.open(satellite, grid, first, last, key, step, instant)
