"""Checks that the keys of a recipe fit one another, without reading data.

What each value may be is stated at its key, by rules of `slams.plugins.keys`. `check` applies to
every verb; `require` adds what one verb needs. Whatever can only be known from the data (whether
the store has this level, whether there is any day in this split) is checked where the data are
opened.
"""

from __future__ import annotations

import dataclasses
from itertools import islice

from slams.calendar.steps import steps_per_day, whole_days
from slams.config.checks.days import check_days
from slams.config.checks.observations import check_observations
from slams.config.checks.paths import check_paths
from slams.config.checks.rules import check_that
from slams.config.checks.sources import check_sources
from slams.config.checks.sweep import check_sweep_size
from slams.config.schema import Config
from slams.config.splits import check_splits, check_test_days, split_pieces
from slams.errors import UserError, nearest
from slams.plugins.keys import check_keys
from slams.plugins.methods import Knows, check_method, split_name

__all__ = ["check", "require"]

# Splits whose days each verb needs.
_SPLITS = {
    "prepare": ("train",),
    "train vae": ("train", "validation"),
    "train score": ("train", "validation"),
    "train filter": ("train", "validation"),
    "assimilate": ("test",),
    "limit": ("test",),
    "report": ("test",),
}
# Verbs whose steps are days: the learned filter, and the cycle of a model of the atmosphere.
_OF_DAYS = ("train filter", "filter", "limit")
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
    _check_condition_only(config)
    _check_kept(config)
    check_sources(config.data)
    data = config.data
    check_splits(data.splits, whole_days(data.days, data.step_days), _days_before(config))
    check_days(config)
    _check_background(config)
    check_observations(config)
    _check_networks(config)
    _check_methods(config)
    cases = config.data.test_cases
    why = f"less than data.test_cases, {cases}; the first case is 0"
    check_that(not cases or config.report.case < cases, config, "report.case", why)


def require(config: Config, verb: str) -> None:
    """Refuse a recipe that lacks what one verb of the command line needs.

    Args:
        config: A recipe that `check` has accepted.
        verb: `prepare`, `train vae`, `train score`, `assimilate`, `limit`, `report` or
            `simulate`.

    Raises:
        UserError: A split, the channels or the level on the maps are missing.
    """
    if verb == "simulate":
        return
    if verb in _OF_DAYS:
        why = f"24h: `slams {verb}` goes from day to day, and is not made for shorter steps"
        check_that(config.data.step == "24h", config, "data.step", why)
    splits = config.data.splits
    if not config.data.channels:
        raise UserError(
            "key 'data.channels': found an empty list, expected channels such as "
            "temperature@850 or 2m_temperature"
        )
    for name in (
        _SPLITS.get(verb, ()) if verb != "prepare" or not config.data.statistics_from else ()
    ):
        if not getattr(splits, name):
            raise UserError(
                f"key 'data.splits.{name}': found no days, expected the first and the last day, "
                f"for example [1980-01-01, 1982-12-31]; `slams {verb}` needs them"
            )
    if verb == "limit":
        why = "1 or more days over which the filter is cycled"
        check_that(config.assimilation.cycle_days, config, "assimilation.cycle_days", why)
    if verb == "assimilate":
        _check_splits_of_methods(config)
    if verb in ("assimilate", "limit"):
        reserved = split_pieces(splits, "reserved")
        check_test_days(splits, reserved, "data.splits.reserved", _days_before(config))
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


def _check_condition_only(config: Config) -> None:
    """Refuse channels that only condition where there is no such channel, or nothing is left."""
    data, key = config.data, "data.condition_only"
    known = [*data.channels, *dict.fromkeys(c.partition("@")[0] for c in data.channels)]
    for name in data.condition_only:
        if name not in known:
            hint = nearest(name, known)
            raise UserError(f"key {key!r}: {name!r} is not in data.channels; {hint}")
    if data.channels and not data.analysed:
        raise UserError(
            f"key {key!r}: found all of data.channels, expected some to be left to analyse"
        )


def _check_kept(config: Config) -> None:
    """Refuse channels to be written by a filter that the state does not have."""
    for name in config.filter.keep:
        if config.data.channels and name not in config.data.channels:
            hint = nearest(name, config.data.channels)
            raise UserError(f"key 'filter.keep': {name!r} is not in data.channels; {hint}")


def _check_background(config: Config) -> None:
    data, background, lags = config.data, config.background, config.score.lags
    fitted = f"data.lags has {', '.join(map(str, data.lags)) or 'none'}"
    persistent = background.kind == "damped_persistence"
    # The last day of the window lies window - 1 days further from the state that persists.
    missing = _not_fitted(range(background.lag, background.lag + data.days), data.lags)
    if persistent and missing:
        raise UserError(
            f"key 'background.lag': lag {background.lag} and a window of {data.days} days "
            f"need persistence fitted for {missing} days, but {fitted}"
        )
    several = persistent or "{lag}" in background.path
    only = (
        "none unless score.space=latent, and background.kind=damped_persistence or a store for "
        "each {lag} in background.path"
    )
    latent = config.score.space == "latent"
    check_that(not lags or (several and latent), config, "score.lags", only)
    for lag in lags if persistent else ():
        if _not_fitted(range(lag, lag + data.days), data.lags):
            raise UserError(
                f"key 'score.lags': found lag {lag}, expected one that persistence is fitted for: "
                f"{fitted}"
            )
    given = background.kind != "file" or background.path
    check_that(given, config, "background.path", "the background's store")


def _days_before(config: Config) -> int:
    """Return how many days before a window its background is made from."""
    background, step = config.background, config.data.step_days
    if background.kind != "damped_persistence" and background.recentre_days == 0:
        return 0
    recentred = background.recentre_days * steps_per_day(step)
    return whole_days(background.lag + max(recentred, 1) - 1, step)


def _not_fitted(needed: range, fitted: list[int]) -> str:
    """List the lags that are needed and not fitted, the first of them where there are many."""
    there = set(fitted)
    missing = list(islice((lag for lag in needed if lag not in there), _MOST_LISTED + 1))
    more = ", ..." if len(missing) > _MOST_LISTED else ""
    return ", ".join(map(str, missing[:_MOST_LISTED])) + more


def _check_networks(config: Config) -> None:
    score, sampler = config.score, config.assimilation.sampler
    if score.batch_size < score.ensemble:
        raise UserError(
            f"key 'score.ensemble': found {score.ensemble} networks for a batch of "
            f"{score.batch_size} samples (score.batch_size), expected no more than that"
        )
    crop, factor = config.vae.crop, config.vae.factor
    whole = not any(size % factor for size in crop)
    check_that(whole, config, "vae.crop", f"multiples of vae.factor, {factor}")
    latent = score.space == "latent"
    why = "0, since fields are streamed as they are where score.space is pixel"
    check_that(latent or score.shifts == 0, config, "score.shifts", why)
    why = "latent, since where score.space is pixel there is no decoder"
    check_that(latent or score.loss == "latent", config, "score.loss", why)
    why = "climatology, since fields are not encoded where score.space is pixel"
    check_that(latent or score.centre == "climatology", config, "score.centre", why)
    why = f"more than sigma_min, {sampler.sigma_min}"
    ordered = sampler.sigma_max > sampler.sigma_min
    check_that(ordered, config, "assimilation.sampler.sigma_max", why)


def _check_methods(config: Config) -> None:
    """Refuse first guesses that have no background, and options of methods that are not used."""
    section = config.assimilation
    for name in section.methods:
        spec, first_guess = check_method(name)
        if spec.cycled and not section.cycle_days:
            raise UserError(
                f"key 'assimilation.methods': {name!r} keeps its members from day to day, "
                f"expected assimilation.cycle_days of more than 0"
            )
        if spec.cycled and config.data.step != "24h":
            raise UserError(
                f"key 'assimilation.methods': {name!r} forecasts its members from day to day, "
                f"expected data.step to be 24h, found {config.data.step}"
            )
        of_background = first_guess is not None and first_guess.knows is not Knows.NOTHING
        if of_background and config.background.kind == "climatology":
            raise UserError(
                f"key 'assimilation.methods': {name!r} makes its first guess of the background, "
                f"and background.kind=climatology has nothing to make one of"
            )
    for name, values in section.options.items():
        key = f"assimilation.options.{name}"
        if dataclasses.is_dataclass(getattr(section, name, None)):
            raise UserError(
                f"key {key!r}: found settings of {name}, expected them in its own section, "
                f"assimilation.{name}"
            )
        known = [part for method in section.methods for part in split_name(method) if part]
        if name not in known:
            hint = nearest(name, list(dict.fromkeys(known)))
            raise UserError(f"key {key!r}: {name!r} is none of assimilation.methods; {hint}")
        if not isinstance(values, dict) or not all(isinstance(k, str) for k in values):
            raise UserError(f"key {key!r}: found {values!r}, expected keys and values")
