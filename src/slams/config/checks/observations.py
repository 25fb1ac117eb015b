"""Checks of what is observed: modalities, channels, instruments, archives of station reports."""

from __future__ import annotations

from collections.abc import Sequence

from slams.config.checks.rules import check_that
from slams.config.schema import BUILT_IN_MODALITIES, Config, DataConfig
from slams.errors import UserError, nearest
from slams.plugins.keys import DISTINCT, one_of
from slams.plugins.station_sources import STATION_SOURCES
from slams.variables import UNITS

__all__ = ["check_observations"]

_STATIONS = "observations.stations"
_SATELLITE = "observations.satellite"
_ONE_OF_BOTH = "expected channels that are analysed; take it out of one of the two keys"


def check_observations(config: Config) -> None:
    """Refuse observations that contradict one another or the channels of the recipe.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    observations = config.observations
    modalities = (*BUILT_IN_MODALITIES, *(one.name for one in observations.instruments))
    for name in observations.use:
        one_of(*modalities).check("observations.use", name)
    DISTINCT.check("observations.use", observations.use)
    for position, variable in enumerate(observations.stations.variables):
        key = f"{_STATIONS}.variables.{position}"
        if variable.likelihood == "censored" and variable.channel != "total_precipitation_24hr":
            raise UserError(
                f"key '{key}.likelihood': found 'censored' for {variable.channel}, expected "
                f"gaussian or auto; only total_precipitation_24hr cannot fall below 0"
            )
        if variable.error == 0 and variable.representativeness == 0:
            raise UserError(
                f"key '{key}.error': found 0, expected a standard deviation of more than 0, this "
                f"or its representativeness"
            )
    for position, instrument in enumerate(observations.instruments):
        left_out = _only_condition(config.data, instrument.options)
        if instrument.name in observations.use and left_out:
            raise UserError(
                f"key 'observations.instruments.{position}.options': {left_out} is under "
                f"data.condition_only, {_ONE_OF_BOTH}"
            )
    _check_observed(config)
    if observations.stations.source.kind:
        _check_station_source(config)
    if observations.satellite.source.kind:
        _check_satellite_source(config)
    elif "satellite" in observations.use:
        _check_drawn_imagery(config)


def _check_observed(config: Config) -> None:
    """Refuse observed channels that are missing, listed twice, unknown or not analysed."""
    observations, channels = config.observations, config.data.channels
    observed = {
        "stations": ("stations.variables", [v.channel for v in observations.stations.variables]),
        "satellite": ("satellite.channel", [observations.satellite.channel]),
        "degraded": ("degraded.channels", observations.degraded.channels),
    }
    for modality, (inner, names) in observed.items():
        if modality not in observations.use:
            continue
        key = f"observations.{inner}"
        if not names:
            raise UserError(f"key {key!r}: found an empty list, expected channels to observe")
        DISTINCT.check(key, names)
        for name in names:
            if channels and name not in channels:
                known = name.partition("@")[0] in UNITS  # spelt right, but not in the recipe
                hint = "add it there, or take it out of this key"
                hint = hint if known else nearest(name, channels)
                raise UserError(f"key {key!r}: channel {name!r} is not in data.channels; {hint}")
            if name in channels and name not in config.data.analysed:
                raise UserError(
                    f"key {key!r}: channel {name!r} is under data.condition_only, {_ONE_OF_BOTH}"
                )


def _only_condition(data: DataConfig, options: dict[str, object]) -> str:
    """Return the first channel that an operator's options name and that only conditions, or ""."""
    values = [v for option in options.values() for v in (option if _many(option) else [option])]
    # A variable next to a list of levels means these levels, without one all levels.
    levels = options.get("levels")
    levels = [str(level) for level in levels] if _many(levels) else []
    for channel in data.channels:
        variable, _, level = channel.partition("@")
        named = channel in values or (variable in values and level in (levels or [level]))
        if named and channel not in data.analysed:
            return channel
    return ""


def _many(option: object) -> bool:
    return isinstance(option, Sequence) and not isinstance(option, str)


def _check_satellite_source(config: Config) -> None:
    """Refuse files of imagery that the recipe cannot use; nothing is read or imported."""
    satellite, prefix = config.observations.satellite, f"{_SATELLITE}.source"
    check_that(satellite.source.path, config, f"{prefix}.path", "the files of the imagery")
    check_that(
        config.observations.source == "store" or "satellite" not in config.observations.use,
        config,
        "observations.source",
        f"'store', since {prefix}.kind is {satellite.source.kind}: images are prepared into the "
        f"store",
    )
    for name, drawn in (("geometry", "slanted"), ("composite", "latest"), ("footprint_km", 0)):
        why = f"{drawn!r}, since {prefix} brings its own images"
        check_that(getattr(satellite, name) == drawn, config, f"{_SATELLITE}.{name}", why)


def _check_drawn_imagery(config: Config) -> None:
    """Refuse imagery that is to be drawn from a channel that the source lacks."""
    name = config.observations.satellite.channel
    for key, source in config.data.inputs:
        if name in source.absent:
            raise UserError(
                f"key '{_SATELLITE}.source.kind': found none, but {name} is under {key}.absent, "
                f"so that there is nothing to draw imagery from; name files of imagery, or leave "
                f"satellite out of observations.use"
            )


def _check_station_source(config: Config) -> None:
    """Refuse an archive that the recipe cannot use; nothing is read or imported."""
    stations = config.observations.stations
    source, prefix = stations.source, f"{_STATIONS}.source"
    spec = STATION_SOURCES.get(source.kind, f"{prefix}.kind")
    check_that(source.path, config, f"{prefix}.path", "the files of the archive")
    check_that(
        source.station_list or not spec.needs_station_list,
        config,
        f"{prefix}.station_list",
        f"the archive's list of stations, which {source.kind} takes positions from",
    )
    check_that(
        config.observations.source == "store" or "stations" not in config.observations.use,
        config,
        "observations.source",
        f"'store', since {prefix}.kind is {source.kind}: real reports are prepared into the store",
    )
    why = f"nothing, since {prefix} brings its own stations"
    check_that(not stations.file, config, f"{_STATIONS}.file", why)
    why = "0, since real reports are missing where they are"
    check_that(stations.missing == 0, config, f"{_STATIONS}.missing", why)
    for position, variable in enumerate(stations.variables):
        if variable.channel.partition("@")[0] not in spec.variables:
            raise UserError(
                f"key '{_STATIONS}.variables.{position}.channel': found {variable.channel!r}, "
                f"expected what {source.kind} reports: {', '.join(spec.variables)}"
            )
