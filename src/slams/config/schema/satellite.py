"""Satellite imagery: drawn from the fields, or read from files."""

from __future__ import annotations

from dataclasses import dataclass, field

from slams.config.paths import PATH
from slams.plugins.imagery_sources import IMAGERY_SOURCES
from slams.plugins.keys import (
    NOT_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    SHARE,
    at_least,
    key,
    one_of,
    optional,
    registered,
    that,
)

__all__ = ["OrbitConfig", "SatelliteConfig", "SatelliteSourceConfig"]


@dataclass
class OrbitConfig:
    """A satellite on a circular orbit whose ground track repeats."""

    # Days after which the ground track repeats.
    repeat_days: int = key(16, at_least(1))
    # Revolutions in these days, without a common divisor with them; the altitude follows: 233 in
    # 16 days is 705 km.
    revolutions: int = key(233, at_least(1))
    # Local mean time (hours) at which it crosses the equator northwards.
    crossing_time: float = key(13.5, that(lambda v: 0 <= v < 24, "an hour in [0, 24)"))
    # Width of the swath (km).
    swath_km: float = key(2330.0, POSITIVE)
    # Inclination (degrees); 0 takes the sun-synchronous one, which follows from the period.
    inclination: float = key(
        0.0, that(lambda v: 0 <= v < 180, "in [0, 180), 0 for the sun-synchronous one")
    )


@dataclass
class SatelliteSourceConfig:
    """Files of imagery, prepared into the training store."""

    # Layout: `gridded_olr` (images on a regular grid, with gaps), `pixels` (level 2: a swath with
    # two-dimensional positions, or a table of pixels); "" has none, and images are drawn from the
    # fields.
    kind: str = key("", optional(registered(IMAGERY_SOURCES)))
    # A file, or a pattern with *: NetCDF, and CSV or Parquet for pixels.
    path: str = key("", PATH)
    # Name of the variable in the files; "" finds the usual ones.
    variable: str = ""
    # Height (degrees) of the cells in which pixels are averaged, a divisor of 180; 0 takes
    # `footprint` x `footprint` cells of the model's grid.
    cell: float = key(
        0.0,
        that(
            lambda v: v == 0 or (0.1 <= v <= 60 and abs(180 / v - round(180 / v)) < 1e-6),
            "0, or 0.1 to 60 degrees that divide 180",
        ),
    )
    # Standard deviation of the representativeness error (W m-2), added in quadrature to the error
    # of the mean over the pixels, or the times, of a cell.
    representativeness: float = key(0.0, NOT_NEGATIVE)
    # Share of the error variance that the pixels of a cell, or the times of a day, have in common,
    # of which no average is free. 0.3 is an assumption.
    correlation: float = key(0.3, PROBABILITY)
    # Largest share of the values that may be left out because they cannot be used (out of range,
    # no position or time, an error that is none); above it the files are refused.
    left_out: float = key(0.05, SHARE)


@dataclass
class SatelliteConfig:
    """Satellite imagery of outgoing longwave radiation."""

    # Channel of `data.channels` that the images show.
    channel: str = "outgoing_longwave_radiation"
    # Footprint in grid cells in each direction (block mean).
    footprint: int = key(2, at_least(1))
    # Share of the globe inside the moving swaths of `geometry: slanted`.
    coverage: float = key(0.5, that(lambda v: 0 < v <= 1, "in (0, 1]"))
    # Standard deviation of the observation error (W m-2), of one pass.
    error: float = key(5.0, POSITIVE)
    # `slanted`: bands whose width follows from `coverage`; `orbit`: the passes of `orbit`.
    geometry: str = key("slanted", one_of("slanted", "orbit"))
    orbit: OrbitConfig = field(default_factory=OrbitConfig)
    # Diameter (km) of circular footprints about the centres of the blocks, weighted by the area
    # shared with each grid cell; 0 takes the blocks themselves.
    footprint_km: float = key(0.0, NOT_NEGATIVE)
    # How several passes of a day are combined: `latest`, or their `mean`, with a smaller error.
    composite: str = key("latest", one_of("latest", "mean"))
    # Images read from files instead of drawn; needs observations.source: store. Of the keys above,
    # it takes `channel`, `error`, and for pixels `footprint`.
    source: SatelliteSourceConfig = field(default_factory=SatelliteSourceConfig)
