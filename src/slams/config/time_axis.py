"""Days of a recipe: its windows, trajectories, observed days and cycles, checked together."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

from slams.config.schema import Config
from slams.config.splits import Piece, flat_days, split_pieces
from slams.errors import UserError

__all__ = ["analysed", "at_length", "check_days"]


def at_length(config: Config) -> Config:
    """Return the recipe with windows as long as one analysis (`data.trajectory`)."""
    return replace(config, data=replace(config.data, window=config.data.days, trajectory=0))


def analysed(config: Config) -> Config:
    """Return the recipe by which the data of an assimilation are read.

    Windows are as long as one analysis. A cycle takes consecutive days from the first day of the
    test split, all in its first piece; it makes its own gross-error check, against its own
    background.
    """
    config = at_length(config)
    days = config.assimilation.cycle_days
    if not days:
        return config
    first, _ = _test_period(config)
    last = first + timedelta(days=days - 1)
    splits = replace(config.data.splits, test=flat_days([(first, last)]))
    return replace(
        config,
        data=replace(config.data, splits=splits, test_cases=0),
        observations=replace(config.observations, gross_error=math.inf),
    )


def _test_period(config: Config) -> Piece:
    """Return the first piece of the test split."""
    pieces = split_pieces(config.data.splits, "test")
    if not pieces:
        raise UserError(
            "key 'data.splits.test': found no days with assimilation.cycle_days, expected the "
            "first and the last day"
        )
    return pieces[0]


def check_days(config: Config) -> None:
    """Refuse trajectories, observed days and cycles that do not fit the windows.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    data = config.data
    if data.trajectory and data.trajectory < data.window:
        raise UserError(
            f"key 'data.trajectory': found {data.trajectory} days, expected at least the "
            f"{data.window} of a window (data.window), or 0"
        )
    if data.days > data.window and data.window % 2 == 0:
        raise UserError(
            f"key 'data.window': found {data.window} days, expected an odd number, since a "
            f"trajectory (data.trajectory, {data.trajectory} days) is composed from the middles "
            f"of windows"
        )
    for day in config.observations.days:
        if not 0 <= day < data.days:
            raise UserError(
                f"key 'observations.days': found {day}, expected days of the window, 0 to "
                f"{data.days - 1}"
            )
    if config.background.analysis_error and config.background.kind != "damped_persistence":
        raise UserError(
            f"key 'background.analysis_error': found {config.background.analysis_error:g} with "
            f"background.kind {config.background.kind}, expected damped_persistence or 0"
        )
    if config.assimilation.cycle_days:
        _check_cycle(config)


def _check_cycle(config: Config) -> None:
    where = "with assimilation.cycle_days"
    first, last = _test_period(config)
    if (last - first).days + 1 < config.assimilation.cycle_days:
        raise UserError(
            f"key 'assimilation.cycle_days': found {config.assimilation.cycle_days} days, "
            f"expected no more than the {(last - first).days + 1} of data.splits.test "
            f"({first} to {last})"
        )
    if config.background.kind != "damped_persistence" or config.background.lag != 1:
        raise UserError(
            f"key 'background.kind': found {config.background.kind} with a lag of "
            f"{config.background.lag} days {where}, expected damped_persistence of 1 day: the "
            f"analysis of a day is the background of the next"
        )
    expected = {
        "background.recentre_days": (config.background.recentre_days, 0),
        "data.days": (config.data.days, 1),
        "assimilation.modality_study": (config.assimilation.modality_study, 0),
        "trainer.devices": (config.trainer.devices * config.trainer.num_nodes, 1),
    }
    for key, (found, only) in expected.items():
        if found != only:
            key = "data.window" if key == "data.days" else key
            raise UserError(f"key {key!r}: found {found} {where}, expected {only}")
