"""The registry of files of imagery: `observations.satellite.source.kind`.

A built-in layout is a specification in `data_modules.sources.imagery` and a reader that is
imported when the files are read; see `slams.plugins.sources` for the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from slams.plugins.registry import Registry

__all__ = ["IMAGERY_SOURCES", "ImagerySourceSpec", "OpenImagery"]


class OpenImagery(Protocol):
    """Function that opens files of imagery."""

    def __call__(
        self,
        satellite: Any,
        grid: Any,
        first: Any,
        last: Any,
        key: str,
        step: float = 1.0,
        instant: bool = False,
        /,
    ) -> Any:
        """Open the files.

        Args:
            satellite: The recipe's section `observations.satellite`, a
                `slams.config.schema.SatelliteConfig`.
            grid: The `slams.grid.LatLonGrid` of the fields.
            first: First day, `numpy.datetime64`.
            last: Last day, inclusive.
            key: Dotted key of the source in the recipe, for messages:
                `observations.satellite.source`.
            step: Length (days) of the steps of the store, see `slams.calendar.steps`; given, as
                `instant`, only where it is not a day and the specification says `any_step`.
            instant: Whether the store holds instants of the channel, to which values within half
                a step belong, not those within the step.

        Returns:
            A `data_modules.sources.imagery.images.Imagery`.

        Raises:
            UserError: The files do not exist, or do not have this layout.
        """
        ...


@dataclass(frozen=True)
class ImagerySourceSpec:
    """Specification of a layout of imagery.

    Attributes:
        name: Name in recipes, `observations.satellite.source.kind`.
        open: Function that opens the files.
        any_step: Whether `open` takes steps of less than a day (`data.step`).
    """

    name: str
    open: OpenImagery
    any_step: bool = False


IMAGERY_SOURCES = Registry(
    "source of imagery",
    ImagerySourceSpec,
    "slams.imagery_sources",
    "data_modules.sources.imagery",
)
