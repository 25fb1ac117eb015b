"""Checks that a recipe makes sense, without importing anything heavy and without reading data.

What each value may be by itself stands at its key (`slams.plugins.keys`). `check` holds for every
verb; `require` adds what one verb needs. Whatever can only be known from
the data (does the store have this level, is there any day in this split) is checked where the
data are opened.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from itertools import islice

from slams.config.checks.instruments import check_instruments, modalities
from slams.config.checks.paths import check_paths
from slams.config.checks.rules import holds, one_of, unique, value_at
from slams.config.checks.sources import check_sources
from slams.config.checks.stations import check_station_source
from slams.config.checks.sweep import check_sweep_size
from slams.config.memory import parse_memory
from slams.config.schema import BackgroundConfig, Config, DataConfig
from slams.config.splits import (
    check_splits,
    check_test_days,
    day_range,
    parse_day,
    split_pieces,
)
from slams.config.time_axis import check_days
from slams.config.time_limits import parse_limit
from slams.errors import UserError, nearest
from slams.plugins.keys import check_keys
from slams.plugins.methods import METHODS, Knows, check_method, split_name
from slams.variables import ON_LEVELS, UNITS

__all__ = ["check", "require"]

# Groups of `slams.nn`'s group normalisation, which divide the width of every layer.
_GROUPS = 8
# Lags that a message lists at most: a window may be given more days than there are.
_MOST_LISTED = 10


def check(config: Config) -> None:
    """Refuse a recipe that contradicts itself.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    check_keys(config)  # `load` has, but a recipe may be made in code
    check_paths(config)
    check_sweep_size(config.ablation)
    _check_channels(config)
    check_sources(config.data)
    check_splits(config.data.splits, config.data.days, _days_before(config.background))
    day_range("data.period", config.data.period)
    parse_memory("data.prepare.memory", config.data.prepare.memory)
    holds(config, "data.prepare.walltime", _is_walltime, "a time limit such as 02:00:00")
    check_days(config)
    _check_background(config)
    _check_observations(config)
    check_station_source(config)
    _check_networks(config)
    _check_assimilation(config)
    parse_day("simulate.start", config.simulate.start)
    if config.trainer.max_time:
        parse_limit("key 'trainer.max_time'", config.trainer.max_time)


def require(config: Config, verb: str) -> None:
    """Refuse a recipe that lacks what one verb of the command line needs.

    Args:
        config: A recipe that `check` has accepted.
        verb: `prepare`, `train vae`, `train score`, `assimilate`, `report` or `simulate`.

    Raises:
        UserError: A split, the channels or the level on the maps are missing.
    """
    if verb == "simulate":
        return
    if not config.data.channels:
        raise UserError(
            "key 'data.channels': found an empty list, expected channels such as "
            "temperature@850 or 2m_temperature"
        )
    needed: tuple[str, ...] = ()
    if verb.startswith("train"):
        needed = ("train", "validation")
    elif verb in ("assimilate", "report"):
        needed = ("test",)
    elif verb == "prepare" and not config.data.statistics_from:
        needed = ("train",)
    for name in needed:
        if not getattr(config.data.splits, name):
            raise UserError(
                f"key 'data.splits.{name}': found no days, expected the first and the last day, "
                f"for example [1980-01-01, 1982-12-31]; `slams {verb}` needs them"
            )
    if verb == "assimilate":
        _check_splits_of_methods(config)
        splits, reach = config.data.splits, _days_before(config.background)
        reserved = split_pieces(splits, "reserved")
        check_test_days(splits, reserved, "data.splits.reserved", reach)
    if verb in ("assimilate", "report"):
        levels = _levels_shown(config.data.analysed)
        if levels and config.report.level not in levels:
            raise UserError(
                f"key 'report.level': found {config.report.level} hPa, expected one of the levels "
                f"in data.channels, {', '.join(map(str, levels))}"
            )


def _levels_shown(channels: list[str]) -> list[int]:
    """Return the levels (hPa) that maps may show: those of temperature, where it is analysed."""
    split = [name.partition("@") for name in channels if "@" in name]
    shown = [part for part in split if part[0] == "temperature"] or split
    return sorted({int(level) for _, _, level in shown}, reverse=True)


def _check_splits_of_methods(config: Config) -> None:
    """Refuse a recipe without the days that a first guess of its methods is fitted to."""
    for name in config.assimilation.methods:
        _, first_guess = check_method(name)
        for split in first_guess.splits if first_guess else ():
            if not getattr(config.data.splits, split):
                raise UserError(
                    f"key 'data.splits.{split}': found no days; {name} measures its first guess "
                    f"on days that its model was not trained on"
                )


def _is_walltime(text: str) -> bool:
    return re.fullmatch(r"(\d+-)?\d{1,3}:[0-5]\d:[0-5]\d", text) is not None


def _check_channels(config: Config) -> None:
    for name in config.data.channels:
        variable, at, level = name.partition("@")
        if variable not in UNITS:
            raise UserError(
                f"key 'data.channels': variable {variable!r} is unknown; "
                f"{nearest(variable, tuple(UNITS))}"
            )
        if at and not re.fullmatch(r"[1-9][0-9]{0,3}", level):
            raise UserError(
                f"key 'data.channels': level {level!r} of {name!r} is not a whole number of hPa"
            )
        if bool(at) != (variable in ON_LEVELS):
            written = f"{variable}@850" if variable in ON_LEVELS else variable
            raise UserError(
                f"key 'data.channels': found {name!r}, expected the form {written}, since "
                f"{variable} {'has' if variable in ON_LEVELS else 'has no'} levels"
            )
    unique("data.channels", config.data.channels)
    _check_condition_only(config)


def _check_condition_only(config: Config) -> None:
    """Refuse channels that only condition where there is no such channel, or nothing is left."""
    data = config.data
    unique("data.condition_only", data.condition_only)
    known = [*data.channels, *dict.fromkeys(c.partition("@")[0] for c in data.channels)]
    for name in data.condition_only:
        if name not in known:
            raise UserError(
                f"key 'data.condition_only': {name!r} is not in data.channels; "
                f"{nearest(name, tuple(known))}"
            )
    if data.channels and not data.analysed:
        raise UserError(
            "key 'data.condition_only': found all of data.channels, expected some to be left to "
            "analyse"
        )


def _check_background(config: Config) -> None:
    data, background = config.data, config.background
    for lag in data.lags:
        if lag < 1:
            raise UserError(f"key 'data.lags': found {lag}, expected days of 1 or more")
    unique("data.lags", data.lags)
    if background.kind == "damped_persistence":
        # The last day of the window lies window - 1 days further from the state that persists.
        missing = _not_fitted(range(background.lag, background.lag + data.days), data.lags)
        if missing:
            raise UserError(
                f"key 'background.lag': lag {background.lag} and a window of {data.days} days "
                f"need persistence fitted for {missing} days, but data.lags "
                f"has {', '.join(map(str, data.lags)) or 'none'}"
            )
    unique("score.lags", config.score.lags)
    for lag in config.score.lags:
        if background.kind != "damped_persistence" or config.score.space != "latent":
            raise UserError(
                f"key 'score.lags': found {config.score.lags}, expected none unless "
                f"background.kind=damped_persistence and score.space=latent"
            )
        if lag < 1 or _not_fitted(range(lag, lag + data.days), data.lags):
            raise UserError(
                f"key 'score.lags': found lag {lag}, expected one that persistence is fitted for: "
                f"data.lags has {', '.join(map(str, data.lags)) or 'none'}"
            )
    if background.kind == "file" and not background.path:
        raise UserError("key 'background.path': found nothing, expected the background's store")


def _days_before(background: BackgroundConfig) -> int:
    """Return how many days before a window its background is made from."""
    if background.kind != "damped_persistence" and background.recentre_days == 0:
        return 0
    return background.lag + max(background.recentre_days, 1) - 1


def _not_fitted(needed: range, fitted: list[int]) -> str:
    """List the lags that are needed and not fitted, the first of them where there are many."""
    there = set(fitted)
    missing = list(islice((lag for lag in needed if lag not in there), _MOST_LISTED + 1))
    more = ", ..." if len(missing) > _MOST_LISTED else ""
    return ", ".join(map(str, missing[:_MOST_LISTED])) + more


def _check_observations(config: Config) -> None:
    observations, channels = config.observations, config.data.channels
    check_instruments(observations)
    for name in observations.use:
        one_of("observations.use", name, modalities(observations))
    unique("observations.use", observations.use)
    for position, variable in enumerate(observations.stations.variables):
        key = f"observations.stations.variables.{position}.likelihood"
        if variable.likelihood == "censored" and variable.channel != "total_precipitation_24hr":
            raise UserError(
                f"key {key!r}: found 'censored' for {variable.channel}, expected gaussian or "
                "auto; only total_precipitation_24hr cannot fall below 0"
            )
        if variable.error == 0 and variable.representativeness == 0:
            raise UserError(
                f"key 'observations.stations.variables.{position}.error': found 0, expected a "
                f"standard deviation of more than 0, this or its representativeness"
            )
    for position, instrument in enumerate(observations.instruments):
        left_out = _only_condition(config.data, instrument.options)
        if instrument.name in observations.use and left_out:
            raise UserError(
                f"key 'observations.instruments.{position}.options': {left_out} is under "
                f"data.condition_only, expected channels that are analysed; take it out of one of "
                f"the two keys"
            )
    observed: dict[str, list[str]] = {}
    if "stations" in observations.use:
        observed["stations.variables"] = [v.channel for v in observations.stations.variables]
    if "satellite" in observations.use:
        observed["satellite.channel"] = [observations.satellite.channel]
    if "degraded" in observations.use:
        observed["degraded.channels"] = observations.degraded.channels
    for key, names in observed.items():
        key = f"observations.{key}"
        if not names:
            raise UserError(f"key {key!r}: found an empty list, expected channels to observe")
        unique(key, names)
        for name in names:
            if channels and name not in channels:
                raise UserError(
                    f"key {key!r}: channel {name!r} is not in data.channels; "
                    f"{nearest(name, channels)}"
                )
            if name in channels and name not in config.data.analysed:
                raise UserError(
                    f"key {key!r}: channel {name!r} is under data.condition_only, expected "
                    f"channels that are analysed; take it out of one of the two keys"
                )


def _only_condition(data: DataConfig, options: dict[str, object]) -> str:
    """Return the first channel that an operator's options name and that only conditions, or ""."""
    values = [v for option in options.values() for v in (option if _many(option) else [option])]
    # A variable beside a list of levels stands for these, alone for all there are.
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


def _check_networks(config: Config) -> None:
    score = config.score
    if score.batch_size < score.ensemble:
        raise UserError(
            f"key 'score.ensemble': found {score.ensemble} networks for a batch of "
            f"{score.batch_size} samples (score.batch_size), expected no more than that"
        )
    widths = config.score.channels
    if not widths or min(widths) < 1:
        raise UserError(
            f"key 'score.channels': found {widths}, expected the widths of the U-Net, one a "
            f"resolution, each at least 1"
        )
    for key, found in {"vae.hidden": [config.vae.hidden], "score.channels": widths}.items():
        if any(width % _GROUPS for width in found):
            raise UserError(
                f"key {key!r}: found {value_at(config, key)}, expected multiples of {_GROUPS}, "
                f"the groups of each normalisation"
            )
    if score.space == "pixel":
        only = "0, since fields are streamed as they are where score.space is pixel"
        holds(config, "score.shifts", lambda v: v == 0, only)
        only = "latent, since where score.space is pixel there is no decoder"
        holds(config, "score.loss", lambda v: v == "latent", only)
    sampler = config.assimilation.sampler
    if sampler.sigma_max <= sampler.sigma_min:
        raise UserError(
            f"key 'assimilation.sampler.sigma_max': found {sampler.sigma_max}, expected more than "
            f"sigma_min, {sampler.sigma_min}"
        )


def _check_assimilation(config: Config) -> None:
    methods = config.assimilation.methods
    if not methods:
        names = ", ".join(METHODS.names())
        raise UserError(f"key 'assimilation.methods': found none, expected {names}")
    for name in methods:
        _check_first_guess(config, name)
    unique("assimilation.methods", methods)
    _check_options(config)
    ridges = config.assimilation.linear_inverse_model.ridges
    if not ridges or min(ridges) <= 0:
        raise UserError(
            f"key 'assimilation.linear_inverse_model.ridges': found {ridges}, expected penalties "
            f"of more than 0 to choose from"
        )
    cases = config.data.test_cases
    if cases and config.report.case >= cases:
        raise UserError(
            f"key 'report.case': found {config.report.case}, expected less than data.test_cases, "
            f"{cases}; the first case is 0"
        )


def _check_first_guess(config: Config, name: str) -> None:
    _, first_guess = check_method(name)
    if first_guess is None or first_guess.knows is Knows.NOTHING:
        return
    if config.background.kind == "climatology":
        raise UserError(
            f"key 'assimilation.methods': {name!r} makes its first guess of the background, and "
            f"background.kind=climatology has nothing to make one of"
        )


def _check_options(config: Config) -> None:
    """Refuse settings of methods that have a section of their own, or that are not there."""
    section = config.assimilation
    for name, values in section.options.items():
        key = f"assimilation.options.{name}"
        if dataclasses.is_dataclass(getattr(section, name, None)):
            raise UserError(
                f"key {key!r}: found settings of {name}, expected them in its own section, "
                f"assimilation.{name}"
            )
        known = [part for method in section.methods for part in split_name(method) if part]
        if name not in known:
            raise UserError(
                f"key {key!r}: {name!r} is none of assimilation.methods; "
                f"{nearest(name, list(dict.fromkeys(known)))}"
            )
        if not isinstance(values, dict) or not all(isinstance(k, str) for k in values):
            raise UserError(f"key {key!r}: found {values!r}, expected keys and values")
