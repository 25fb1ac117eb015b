"""Checks that a recipe makes sense, without importing anything heavy and without reading data.

`check` holds for every verb; `require` adds what one verb needs. Whatever can only be known from
the data (does the store have this level, is there any day in this split) is checked where the
data are opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slams.conformity import nearest
from slams.errors import UserError
from slams.memory import parse_memory
from slams.method_names import METHODS, NAMES, split_name
from slams.rules import check_optimizer as _check_optimizer
from slams.rules import holds as _holds
from slams.rules import one_of as _one_of
from slams.rules import value_at as _value
from slams.schema import Config
from slams.source_keys import check_sources
from slams.splits import check_splits, day_range, parse_day
from slams.station_rules import check_station_source
from slams.time_axis import check_days
from slams.time_limits import parse_limit
from slams.variables import ON_LEVELS, UNITS

__all__ = ["METHODS", "check", "require"]

_CHOICES = {
    "resume": ("auto", "never", "overwrite"),
    "data.cache": ("none", "memory", "mmap"),
    "data.prepare.scheduler": ("threads", "distributed", "slurm"),
    "observations.source": ("truth", "store"),
    "observations.satellite.geometry": ("slanted", "orbit"),
    "observations.satellite.composite": ("latest", "mean"),
    "background.kind": ("damped_persistence", "climatology", "file"),
    "score.space": ("latent", "pixel"),
    "score.loss": ("latent", "decoded"),
    "assimilation.guidance.likelihood": ("decoder", "latent"),
    "assimilation.guidance.kind": ("decg", "mmps", "sda", "dps", "pgdm"),
    "assimilation.guidance.background": ("condition", "observation", "both", "neither"),
    "assimilation.sampler.kind": (
        "adams_bashforth",
        "ddim",
        "heun",
        "ancestral",
        "predictor_corrector",
    ),
    "trainer.accelerator": ("auto", "cpu", "gpu"),
    "assimilation.sampler.precision": ("auto", "32-true", "bf16-mixed"),
    "trainer.precision": ("auto", "32-true", "16-mixed", "bf16-mixed"),
}
_AT_LEAST = {
    "seed": 0,
    "data.splits.gap": 0,
    "data.harmonics": 0,
    "data.window": 1,
    "data.trajectory": 0,
    "data.batch_size": 1,
    "data.num_workers": 0,
    "data.prepare.workers": 0,
    "data.ahead": 0,
    "data.test_cases": 0,
    "observations.stations.count": 1,
    "observations.satellite.footprint": 1,
    "observations.satellite.orbit.repeat_days": 1,
    "observations.satellite.orbit.revolutions": 1,
    "observations.degraded.block": 1,
    "observations.degraded.gap": 1,
    "background.lag": 1,
    "background.recentre_days": 0,
    "vae.latent_channels": 1,
    "vae.factor": 1,
    "vae.hidden": 1,
    "vae.blocks": 0,
    "vae.batch_size": 1,
    "score.blocks": 1,
    "score.embedding": 1,
    "score.ensemble": 1,
    "score.batch_size": 1,
    # Two members are the fewest that have a spread.
    "assimilation.members": 2,
    "assimilation.batch_size": 1,
    "assimilation.guidance.archive": 2,
    "assimilation.guidance.background_points": 1,
    "assimilation.guidance.iterations": 1,
    "assimilation.guidance.linearisations": 1,
    # The first noise level and the last.
    "assimilation.sampler.steps": 2,
    "assimilation.sampler.corrections": 0,
    "assimilation.optimal_interpolation.season": 1,
    "assimilation.three_d_var.season": 1,
    "assimilation.three_d_var.outer_loops": 1,
    "assimilation.latent_3dvar.season": 1,
    "assimilation.latent_3dvar.outer_loops": 1,
    "assimilation.latent_3dvar.archive": 2,
    "assimilation.enkf.ensemble": 2,
    "assimilation.enkf.season": 1,
    "assimilation.letkf.ensemble": 2,
    "assimilation.letkf.season": 1,
    "assimilation.linear_inverse_model.eofs": 1,
    "assimilation.linear_inverse_model.folds": 2,
    "assimilation.linear_inverse_model.gap": 0,
    "assimilation.score_mean.draws": 1,
    "assimilation.modality_study": 0,
    "assimilation.cycle_days": 0,
    "assimilation.bootstrap_block": 1,
    "assimilation.bootstrap_samples": 1,
    "assimilation.keep_cases": 0,
    "trainer.devices": 1,
    "trainer.num_nodes": 1,
    "trainer.threads": 0,
    "trainer.validate_every_epochs": 1,
    "trainer.checkpoint_every_steps": 0,
    "report.case": 0,
    "report.level": 1,
    "report.dpi": 20,
    "simulate.months": 1,
    "simulate.spinup_days": 0,
    "simulate.truncation": 1,
}
_NOT_NEGATIVE = (
    "observations.satellite.footprint_km",
    "data.sd_floor",
    "assimilation.guidance.gamma",
    "assimilation.guidance.season",
    "score.shifts",
    "assimilation.optimal_interpolation.shifts",
    "assimilation.three_d_var.shifts",
    "vae.kl_weight",
    "trainer.log_every_seconds",
)
_POSITIVE = (
    # An R of zero has no inverse.
    "observations.satellite.error",
    "observations.satellite.orbit.swath_km",
    "observations.degraded.noise",
    "observations.gross_error",
    "score.noise_sd",
    "assimilation.guidance.localisation",
    "assimilation.guidance.below_sigma",
    "assimilation.guidance.zeta",
    "assimilation.sampler.sigma_min",
    "assimilation.sampler.inflation",
    "assimilation.optimal_interpolation.localisation",
    "assimilation.three_d_var.localisation",
    "assimilation.latent_3dvar.localisation",
    "assimilation.pixel_diffusion.noise_scale",
    "assimilation.enkf.localisation",
    "assimilation.enkf.inflation",
    "assimilation.letkf.localisation",
    "assimilation.letkf.inflation",
    "assimilation.score_mean.sigma",
    "assimilation.cycle_inflation",
    "tracking.system_seconds",
)
# Groups of `slams.nn`'s group normalisation, which divide the width of every layer.
_GROUPS = 8
# Longest name of a directory: a file system takes 255 bytes, locks and temporary names want some.
_LONGEST_NAME = 60
# Probabilities and shares: a share of one would leave nothing.
_SHARES = (
    "observations.stations.missing",
    "observations.stations.held_out",
    "background.analysis_error",
    "vae.modality_dropout",
    "score.dropout",
)


def check(config: Config) -> None:
    """Refuses a recipe that contradicts itself.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    for key, choices in _CHOICES.items():
        _one_of(key, _value(config, key), choices)
    for key, smallest in _AT_LEAST.items():
        _holds(config, key, lambda v, s=smallest: v >= s, f"at least {smallest}")
    for key in _NOT_NEGATIVE:
        _holds(config, key, lambda v: v >= 0, "0 or more")
    for key in _POSITIVE:
        _holds(config, key, lambda v: v > 0, "more than 0")
    for key in _SHARES:
        _holds(config, key, lambda v: 0 <= v < 1, "at least 0 and less than 1")
    for name in ("enkf", "letkf"):
        _holds(config, f"assimilation.{name}.rtps", lambda v: 0 <= v <= 1, "in [0, 1]")
    _holds(config, "assimilation.sampler.correction", lambda v: 0 < v <= 1, "in (0, 1]")
    _holds(config, "assimilation.sampler.order", lambda v: 1 <= v <= 4, "1 to 4")
    _holds(
        config,
        "observations.satellite.orbit.inclination",
        lambda v: 0 <= v < 180,
        "in [0, 180), 0 for the sun-synchronous one",
    )
    _holds(
        config,
        "observations.satellite.orbit.crossing_time",
        lambda v: 0 <= v < 24,
        "an hour in [0, 24)",
    )
    _holds(config, "observations.satellite.coverage", lambda v: 0 < v <= 1, "in (0, 1]")
    _holds(config, "score.condition_dropout", lambda v: 0 <= v <= 1, "in [0, 1]")
    # What torch takes as a seed.
    _holds(config, "seed", lambda v: v < 2**63, "less than 2**63")
    _check_names(config)
    _check_channels(config)
    check_sources(config.data)
    check_splits(config.data.splits, config.data.days)
    day_range("data.period", config.data.period)
    parse_memory("data.prepare.memory", config.data.prepare.memory)
    _holds(config, "data.prepare.walltime", _is_walltime, "a time limit such as 02:00:00")
    check_days(config)
    _check_background(config)
    _check_observations(config)
    check_station_source(config)
    _check_optimizer("vae.optimizer", config.vae.optimizer)
    _check_optimizer("score.optimizer", config.score.optimizer)
    _check_networks(config)
    _check_assimilation(config)
    parse_day("simulate.start", config.simulate.start)
    if config.trainer.max_time:
        parse_limit("key 'trainer.max_time'", config.trainer.max_time)


def require(config: Config, verb: str) -> None:
    """Refuses a recipe that lacks what one verb of the command line needs.

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
    if verb == "assimilate" and not config.data.splits.validation:
        for name in config.assimilation.methods:
            if split_name(name)[1] == "score_mean":
                raise UserError(
                    f"key 'data.splits.validation': found no days; {name} measures its first "
                    f"guess on days that the score model was not trained on"
                )
    if verb in ("assimilate", "report"):
        levels = sorted(
            {int(n.partition("@")[2]) for n in config.data.channels if "@" in n}, reverse=True
        )
        if levels and config.report.level not in levels:
            raise UserError(
                f"key 'report.level': found {config.report.level} hPa, expected one of the levels "
                f"in data.channels, {', '.join(map(str, levels))}"
            )


def _is_walltime(text: str) -> bool:
    return re.fullmatch(r"(\d+-)?\d{1,3}:[0-5]\d:[0-5]\d", text) is not None


def _unique(key: str, values: Iterable[Any]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise UserError(f"key {key!r}: {value} is listed twice")
        seen.add(value)


def _check_names(config: Config) -> None:
    """Refuses names that would leave the runs directory or hide in it, and paths to nowhere."""
    names = {"experiment": config.experiment, "assimilation.setting": config.assimilation.setting}
    if config.trained_in:
        names["trained_in"] = config.trained_in
    for key, name in names.items():
        parts = name.split("/") if key != "assimilation.setting" else [name]
        if not all(_is_name(part) for part in parts):
            raise UserError(f"key {key!r}: found {name!r}, expected the name of a directory")
    for key, path in {"runs": config.runs, "data.store": config.data.store}.items():
        # A store takes the place of what had its name: never the working directory.
        nowhere = not path.strip() or (key == "data.store" and Path(path).name in ("", ".."))
        if nowhere or not path.isprintable():
            raise UserError(f"key {key!r}: found {path!r}, expected the path of a directory")


def _is_name(part: str) -> bool:
    """Tells whether a part of a name can be the name of a directory everywhere."""
    plain = part == part.strip() and part.isprintable() and set(part).isdisjoint('\\/:*?"<>|')
    return plain and 0 < len(part) <= _LONGEST_NAME and not part.startswith(".")


def _check_channels(config: Config) -> None:
    for name in config.data.channels:
        variable, at, level = name.partition("@")
        if variable not in UNITS:
            raise UserError(
                f"key 'data.channels': variable {variable!r} is unknown; "
                f"{nearest(variable, tuple(UNITS))}"
            )
        if at and not (level.isascii() and level.isdigit() and level[0] != "0"):
            raise UserError(
                f"key 'data.channels': level {level!r} of {name!r} is not a whole number of hPa"
            )
        if bool(at) != (variable in ON_LEVELS):
            written = f"{variable}@850" if variable in ON_LEVELS else variable
            raise UserError(
                f"key 'data.channels': found {name!r}, expected the form {written}, since "
                f"{variable} {'has' if variable in ON_LEVELS else 'has no'} levels"
            )
    _unique("data.channels", config.data.channels)


def _check_background(config: Config) -> None:
    data, background = config.data, config.background
    for lag in data.lags:
        if lag < 1:
            raise UserError(f"key 'data.lags': found {lag}, expected days of 1 or more")
    _unique("data.lags", data.lags)
    if background.kind == "damped_persistence":
        # The last day of the window lies window - 1 days further from the state that persists.
        needed = range(background.lag, background.lag + data.days)
        missing = [lag for lag in needed if lag not in data.lags]
        if missing:
            raise UserError(
                f"key 'background.lag': lag {background.lag} and a window of {data.days} days "
                f"need persistence fitted for {', '.join(map(str, missing))} days, but data.lags "
                f"has {', '.join(map(str, data.lags)) or 'none'}"
            )
    _unique("score.lags", config.score.lags)
    for lag in config.score.lags:
        if background.kind != "damped_persistence" or config.score.space != "latent":
            raise UserError(
                f"key 'score.lags': found {config.score.lags}, expected none unless "
                f"background.kind=damped_persistence and score.space=latent"
            )
        missing = [day for day in range(lag, lag + data.days) if day not in data.lags]
        if lag < 1 or missing:
            raise UserError(
                f"key 'score.lags': found lag {lag}, expected one that persistence is fitted for: "
                f"data.lags has {', '.join(map(str, data.lags)) or 'none'}"
            )
    if background.kind == "file" and not background.path:
        raise UserError("key 'background.path': found nothing, expected the background's store")


def _check_observations(config: Config) -> None:
    observations, channels = config.observations, config.data.channels
    for name in observations.use:
        _one_of("observations.use", name, ("stations", "satellite", "degraded"))
    _unique("observations.use", observations.use)
    for position, variable in enumerate(observations.stations.variables):
        for part in ("error", "representativeness", "representativeness_km"):
            value = getattr(variable, part)
            if value < 0:
                raise UserError(
                    f"key 'observations.stations.variables.{position}.{part}': found {value}, "
                    f"expected 0 or more"
                )
        key = f"observations.stations.variables.{position}.likelihood"
        _one_of(key, variable.likelihood, ("auto", "gaussian", "censored"))
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
        _unique(key, names)
        for name in names:
            if channels and name not in channels:
                raise UserError(
                    f"key {key!r}: channel {name!r} is not in data.channels; "
                    f"{nearest(name, channels)}"
                )


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
                f"key {key!r}: found {_value(config, key)}, expected multiples of {_GROUPS}, the "
                f"groups of each normalisation"
            )
    _holds(config, "score.embedding", lambda v: v % 2 == 0, "an even number")
    if score.space == "pixel":
        only = "0, since fields are streamed as they are where score.space is pixel"
        _holds(config, "score.shifts", lambda v: v == 0, only)
        only = "latent, since where score.space is pixel there is no decoder"
        _holds(config, "score.loss", lambda v: v == "latent", only)
    sampler = config.assimilation.sampler
    if sampler.sigma_max <= sampler.sigma_min:
        raise UserError(
            f"key 'assimilation.sampler.sigma_max': found {sampler.sigma_max}, expected more than "
            f"sigma_min, {sampler.sigma_min}"
        )


def _check_assimilation(config: Config) -> None:
    methods = config.assimilation.methods
    if not methods:
        raise UserError(f"key 'assimilation.methods': found none, expected {', '.join(METHODS)}")
    for name in methods:
        _one_of("assimilation.methods", name, NAMES if "@" in name else METHODS)
        _check_first_guess(config, name)
    _unique("assimilation.methods", methods)
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
    first_guess = split_name(name)[1]
    if first_guess in ("", "climatology"):
        return
    if config.background.kind == "climatology":
        raise UserError(
            f"key 'assimilation.methods': {name!r} makes its first guess of the background, and "
            f"background.kind=climatology has nothing to make one of"
        )
