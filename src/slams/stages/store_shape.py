"""Shape of a recipe's store and number of its observations, without opening the store.

They come from the store's metadata or, before it exists, from the recipe. This module imports
neither torch nor a store: `slams config validate` uses it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from slams.calendar.days import day_number
from slams.calendar.steps import steps_per_day
from slams.config.schema import Config
from slams.config.splits import Piece, split_pieces
from slams.observations.station_list import read_station_list

__all__ = ["StoreShape", "first_and_last", "observed_points", "store_shape"]

# Cells of one degree that cover the globe.
_SQUARE_DEGREES = 41_253
# Points per occupied cell above which they are averaged by default
# (`slams.observations.superobs`).
_DENSEST = 1.25


@dataclass(frozen=True)
class StoreShape:
    """Shape of a training store.

    Attributes:
        steps: Days, or their steps.
        channels: Channels that are read.
        rows: Latitudes.
        columns: Longitudes.
        stations: Stations with values in the store; `None` if there are none.
        image: Cells of the imagery in the store; `None` if there is none.
    """

    steps: int
    channels: int
    rows: int
    columns: int
    stations: int | None = None
    image: int | None = None

    @property
    def day(self) -> int:
        """Return the values of one day."""
        return self.channels * self.rows * self.columns


def store_shape(config: Config) -> StoreShape | None:
    """Return the shape of a recipe's store, from its metadata or, before it exists, the recipe.

    Returns:
        `None` if the grid is known only from the source.
    """
    data, store = config.data, Path(config.data.store)
    steps, channels, *grid = _array_shape(store / "fields") or (0, 0)
    if grid:
        observed = _array_shape(store / "stations")
        rows, columns = grid
        stations = observed[1] if observed else None
        seen = _array_shape(store / "satellite")
        image = math.prod(seen[1:]) if seen else None
        return StoreShape(steps, len(data.channels) or channels, rows, columns, stations, image)
    rows, _, columns = data.inputs[0][1].grid.partition("x")
    if not (rows.isdigit() and columns.isdigit() and data.channels):
        return None
    days = [first_and_last(split_pieces(data.splits, name)) for name in ("train", "test")]
    ends = [day for pair in days for day in pair]
    steps = (max(ends) - min(ends) + 1) * steps_per_day(data.step_days) if ends else 0
    return StoreShape(steps, len(data.channels), int(rows), int(columns))


def observed_points(config: Config, shape: StoreShape) -> tuple[int, float]:
    """Return the points of a network on one day, and the number of them with a value."""
    section, network, used = config.observations, 0, 0.0

    def add(points: int, times: int, share: float) -> None:
        nonlocal network, used
        left = _averaged(points, section.superob.degrees, shape)
        # Of a cell with several points more than a share of one is seen.
        seen = 1 - (1 - share) ** (points / max(left, 1))
        network, used = network + left * times, used + left * times * seen

    if "stations" in section.use:
        stations = section.stations
        count = stations.count
        if section.source == "store" and shape.stations is not None:
            count = shape.stations
        elif stations.file and Path(stations.file).is_file():
            count = len(read_station_list(stations.file))
        own = round(count * (1 - stations.held_out))
        add(own, len(stations.variables), 1 - stations.missing)
    if "satellite" in section.use:
        satellite = section.satellite
        if satellite.source.kind:
            # Cells of an image are not at random: averaged, they are at most those of averages.
            # Before the image is prepared it counts as many as the model.
            most, degrees = shape.rows * shape.columns, section.superob.degrees
            own = shape.image or most
            if degrees is not None:
                own = min(own, round(_SQUARE_DEGREES / degrees**2) if degrees else most)
            network, used = network + own, used + own
        else:
            own = (shape.rows // satellite.footprint) * (shape.columns // satellite.footprint)
            add(own, 1, satellite.coverage if satellite.geometry == "slanted" else 1.0)
    if "degraded" in section.use:
        degraded = section.degraded
        own = math.prod(
            -(-(size // degraded.block) // degraded.gap) for size in (shape.rows, shape.columns)
        )
        add(own, len(degraded.channels), 1.0)
    for instrument in section.instruments:
        if instrument.name in section.use:
            add(instrument.count, 1, 1.0)
    return network, used


def _averaged(points: int, degrees: float | None, shape: StoreShape) -> int:
    """Return the cells that points at random occupy, or the points if they are not averaged."""
    if degrees is None or not points:
        return points
    cells = _SQUARE_DEGREES / degrees**2 if degrees else shape.rows * shape.columns
    occupied = cells * -math.expm1(-points / cells)
    return round(occupied) if degrees or points > _DENSEST * occupied else points


def _array_shape(path: Path) -> list[int] | None:
    """Return the shape of a Zarr array from its metadata; `None` if it cannot be read."""
    try:
        return list(json.loads((path / "zarr.json").read_text())["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def first_and_last(pieces: tuple[Piece, ...]) -> list[int]:
    """Return the first and the last day of each piece, days since 1970-01-01."""
    return [day_number(day) for piece in pieces for day in piece]
