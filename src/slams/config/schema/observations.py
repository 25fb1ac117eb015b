"""What is observed, with which instruments and errors; what the background is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slams.config.paths import PATH
from slams.config.schema.satellite import SatelliteConfig
from slams.plugins.keys import (
    DISTINCT,
    NOT_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    SHARE,
    at_least,
    distinct,
    key,
    one_of,
    optional,
    registered,
    that,
)
from slams.plugins.operators import OPERATORS
from slams.plugins.station_sources import STATION_SOURCES

__all__ = [
    "BUILT_IN_MODALITIES",
    "BackgroundConfig",
    "DegradationConfig",
    "InstrumentConfig",
    "ObservationsConfig",
    "StationQualityConfig",
    "StationSourceConfig",
    "StationVariableConfig",
    "StationsConfig",
    "SuperobConfig",
]


BUILT_IN_MODALITIES = ("stations", "satellite", "degraded")
# It is part of the names of observations, `NAME/VARIABLE`, and of settings, `NAME+NAME`.
_INSTRUMENT_NAME = that(
    lambda name: name.isidentifier() and name not in BUILT_IN_MODALITIES,
    f"a word of letters, digits and underscores that is none of {', '.join(BUILT_IN_MODALITIES)}",
)


@dataclass
class StationVariableConfig:
    """One quantity that every station observes."""

    # Channel observed, as in `data.channels`.
    channel: str = "2m_temperature"
    # Standard deviation of the observation error (channel units: K, m s-1, log(1 + mm day-1),
    # root of kg kg-1).
    error: float = key(1.0, NOT_NEGATIVE)
    # Standard deviation of the representativeness error, added in quadrature.
    representativeness: float = key(0.0, NOT_NEGATIVE)
    # Grid spacing (km) that `representativeness` is stated for: it grows with the cube root of the
    # model's spacing at each station. 0 takes it as it is everywhere.
    representativeness_km: float = key(0.0, NOT_NEGATIVE)
    # `gaussian`; `censored`: a Gaussian that reads 0 for all that is below, as a rain gauge does;
    # `auto`: censored for precipitation, Gaussian for anything else.
    likelihood: str = key("auto", one_of("auto", "gaussian", "censored"))


@dataclass
class StationQualityConfig:
    """Checks of station reports while they are prepared; what they reject is counted."""

    # Reject values that the variable cannot have.
    range: bool = True
    # Reject a temperature that differs from the ones before and after by more than this (K), twice
    # that where they are more than 6 hours apart; 0 switches the check off.
    step: float = key(15.0, NOT_NEGATIVE)
    # Reject a daily value whose departure from the climatology differs from the median of at least
    # three neighbours' within this distance (km) by more than `buddy_limit` standard deviations; 0
    # switches the check off.
    buddy_km: float = key(500.0, NOT_NEGATIVE)
    # Limit of that check, in standard deviations of a departure, of which one part is the
    # climatology's and the other the observation error.
    buddy_limit: float = key(4.0, POSITIVE)


@dataclass
class StationSourceConfig:
    """An archive or a table of station reports, prepared into the training store."""

    # Layout: `ghcn_daily`, `ghcnh`, `isd`, `isd_lite`, `igra2`, `metar`, `arm_column`, or
    # `reports`, a table of your own; "" has none, and station values are drawn from the fields.
    kind: str = key("", optional(registered(STATION_SOURCES)))
    # A file, a directory of files, or a pattern with *.
    path: str = key("", PATH)
    # The archive's own list of stations (ghcnd-stations.txt, isd-history.csv,
    # igra2-station-list.txt).
    station_list: str = key("", PATH)
    # Elements (GHCN-Daily) or columns (METAR, GHCNh) read; empty for all that give a channel
    # observed.
    elements: list[str] = field(default_factory=list)
    # Largest share of the reports that may be left out because they cannot be used (a station that
    # is not in the list, no position or time, two values at once); above it the archive is
    # refused.
    left_out: float = key(0.05, SHARE)
    # GHCN-Daily's morning observations: `as_dated`, or `day_before`.
    morning: str = key("as_dated", one_of("as_dated", "day_before"))
    # Quarters of the UTC day with a report that a daily mean near the surface needs.
    quarters: int = key(4, that(lambda v: 1 <= v <= 4, "1 to 4 quarters of the day"))
    # Soundings that a daily mean on a level needs.
    soundings: int = key(1, at_least(1))
    # Share of the day that reports of precipitation must cover.
    coverage: float = key(1.0, that(lambda v: 0 < v <= 1, "in (0, 1]"))
    # A station that is listed at places further apart than this (km) has moved, and becomes two.
    moved_km: float = key(1.0, NOT_NEGATIVE)
    # Stations closer together than this (km) are one; the one with more values stays.
    same_place_km: float = key(0.1, NOT_NEGATIVE)
    # Largest difference (m) between a station's elevation and the model's terrain for 2 m
    # temperature; 0 sets no limit.
    height_difference: float = key(0.0, NOT_NEGATIVE)
    # Smallest distance (km) between two stations; those with more values stay. 0 keeps all.
    thinning_km: float = key(0.0, NOT_NEGATIVE)
    qc: StationQualityConfig = field(default_factory=StationQualityConfig)


@dataclass
class StationsConfig:
    """In-situ observations at irregular points."""

    # Number of stations, drawn from real airport (METAR) sites by thinning.
    count: int = key(400, at_least(1))
    # Explicit stations as a CSV file (id,latitude,longitude,elevation) instead of airports.
    file: str = key("", PATH)
    # Real reports instead of values drawn from the fields; needs observations.source: store.
    source: StationSourceConfig = field(default_factory=StationSourceConfig)
    # Quantities that every station observes, by position from 0.
    variables: list[StationVariableConfig] = field(
        default_factory=lambda: [StationVariableConfig()]
    )
    # Lapse rate of the elevation correction (K m-1); used where both elevations are known.
    lapse_rate: float = 0.0065
    # Share of station reports that are missing at random.
    missing: float = key(0.0, SHARE)
    # Share of the stations that no method is given; they verify the analyses. 0 holds none out.
    held_out: float = key(0.0, SHARE)


@dataclass
class DegradationConfig:
    """SLAMS's degradations: direct observations of a channel, coarse, noisy, sparse."""

    # Channels observed directly; empty switches the degradation off.
    channels: list[str] = field(default_factory=list)
    # Block mean over r x r cells.
    block: int = key(1, at_least(1))
    # Keep every gap-th cell in each direction.
    gap: int = key(1, at_least(1))
    # Standard deviation of the noise, as a share of the channel's mean standard deviation.
    noise: float = key(0.1, POSITIVE)


@dataclass
class InstrumentConfig:
    """An instrument whose observation operator is chosen by name."""

    # Name of the instrument, in `observations.use` and in results.
    name: str = key("", _INSTRUMENT_NAME)
    # Observation operator: `points`, `column` (weighted mean over levels) or `lattice` (area
    # means), or one of another package.
    operator: str = key("points", registered(OPERATORS))
    # Options of the operator, for example `channel` of `points`.
    options: dict[str, Any] = field(default_factory=dict)
    # Reports: a table (CSV or Parquet) with the columns time, latitude, longitude, value and,
    # where they differ, error; "" draws the values from the truth.
    file: str = key("", PATH)
    # Positions of drawn values: a CSV file with the columns id, latitude, longitude; "" takes
    # `count` airports. An operator with positions of its own needs neither.
    sites: str = key("", PATH)
    # Number of airports at which values are drawn where `sites` is "".
    count: int = key(100, at_least(1))
    # Standard deviation of the observation error (units of the operator).
    error: float = key(1.0, POSITIVE)
    # Share of the drawn values that is missing at random.
    missing: float = key(0.0, SHARE)


# 0.01 degrees is a kilometre: no network has two stations that close.
_LEAST_CELL, _LARGEST_CELL = 0.01, 90


def _is_cell(value: str | float) -> bool:
    try:
        return value in ("auto", "off") or _LEAST_CELL <= float(value) <= _LARGEST_CELL
    except ValueError:
        return False


@dataclass
class SuperobConfig:
    """Averaging of the reports of one variable and day in cells, after the gross-error check."""

    # `auto`: cells of the model's grid, for variables whose network has more than 1.25 points per
    # occupied cell; `off`: none; or the height of cells of about equal area (degrees).
    cell: str | int | float = key(
        "auto",
        that(_is_cell, f"auto, off, or {_LEAST_CELL} to {_LARGEST_CELL} degrees"),
    )
    # Share of the error variance that the reports of a cell have in common, of which no average is
    # free. 0.3 is an assumption: about half of a station's error is representativeness, of which
    # neighbours share a part. 0 is exact for values drawn from the truth.
    correlation: float = key(0.3, PROBABILITY)

    @property
    def degrees(self) -> float | None:
        """Return the height of the cells; 0 for `auto`, `None` for `off`."""
        if self.cell == "off":
            return None
        return 0.0 if self.cell == "auto" else float(self.cell)


@dataclass
class ObservationsConfig:
    """What is observed: which modalities, and with which `H` and `R`."""

    # Modalities in use: any of `stations`, `satellite`, `degraded`, and the names of
    # `observations.instruments`; empty observes nothing.
    use: list[str] = key(["stations", "satellite"])
    # Values drawn from the truth when read (`truth`), or streamed from the training store's
    # stations and satellite arrays (`store`).
    source: str = key("truth", one_of("truth", "store"))
    stations: StationsConfig = field(default_factory=StationsConfig)
    satellite: SatelliteConfig = field(default_factory=SatelliteConfig)
    degraded: DegradationConfig = field(default_factory=DegradationConfig)
    # Further instruments, each with an observation operator of its choice; `use` names those that
    # observe.
    instruments: list[InstrumentConfig] = key([], distinct("name"))
    # Steps of the window (0 the first; days by default) on which anything is observed; empty for
    # all of them.
    days: list[int] = key([], DISTINCT)
    # Reject observations further than this many standard deviations from the background.
    gross_error: float = key(5.0, POSITIVE)
    superob: SuperobConfig = field(default_factory=SuperobConfig)


@dataclass
class BackgroundConfig:
    """The background, which never sees the verifying truth."""

    # `damped_persistence` or `climatology` or `file`.
    kind: str = key("damped_persistence", one_of("damped_persistence", "climatology", "file"))
    # Steps (`data.step`, days by default) between the state that persists and the first of the
    # window.
    lag: int = key(2, at_least(1))
    # Training store that holds background states (kind `file`); `{lag}` stands for the lag, where
    # there is a store for each.
    path: str = key("", PATH)
    # Re-centre the climatology on this many real days before the verifying day; 0 keeps it.
    recentre_days: int = key(0, at_least(0))
    # Error variance, as a share of the climatology's, that the state which persists is given in
    # the training period: that of an analysis, where backgrounds are cycled; 0 for the truth.
    analysis_error: float = key(0.0, SHARE)

    @property
    def store(self) -> str:
        """Return the path of the store of background states for the lag; empty for none."""
        return self.path.replace("{lag}", str(self.lag))
