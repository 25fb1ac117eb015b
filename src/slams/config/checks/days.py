"""Checks of a recipe's days: windows, trajectories, observed days and cycles fit one another."""

from __future__ import annotations

from slams.config.checks.rules import check_that
from slams.config.schema import Config
from slams.config.time_axis import first_test_piece
from slams.errors import UserError

__all__ = ["check_days"]


def check_days(config: Config) -> None:
    """Refuse trajectories, observed days and cycles that do not fit the windows.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    data, background = config.data, config.background
    long_enough = not data.trajectory or data.trajectory >= data.window
    why = f"at least the {data.window} days of a window (data.window), or 0"
    check_that(long_enough, config, "data.trajectory", why)
    why = (
        f"an odd number of days, since a trajectory (data.trajectory, {data.trajectory} days) is "
        f"composed from the middles of windows"
    )
    check_that(data.days == data.window or data.window % 2, config, "data.window", why)
    outside = [day for day in config.observations.days if not 0 <= day < data.days]
    if outside:
        raise UserError(
            f"key 'observations.days': found {outside[0]}, expected days of the window, 0 to "
            f"{data.days - 1}"
        )
    why = f"damped_persistence or 0, since background.kind is {background.kind}"
    fits = not background.analysis_error or background.kind == "damped_persistence"
    check_that(fits, config, "background.analysis_error", why)
    if config.assimilation.cycle_days:
        _check_cycle(config)


def _check_cycle(config: Config) -> None:
    where, background = "with assimilation.cycle_days", config.background
    first, last = first_test_piece(config)
    days = (last - first).days + 1
    why = f"no more than the {days} days of data.splits.test ({first} to {last})"
    key = "assimilation.cycle_days"
    check_that(config.assimilation.cycle_days <= days, config, key, why)
    if background.kind != "damped_persistence" or background.lag != 1:
        raise UserError(
            f"key 'background.kind': found {background.kind} with a lag of {background.lag} days "
            f"{where}, expected damped_persistence of 1 day: the analysis of a day is the "
            f"background of the next"
        )
    expected = {
        "background.recentre_days": (background.recentre_days, 0),
        "data.window": (config.data.days, 1),
        "assimilation.modality_study": (config.assimilation.modality_study, 0),
        "trainer.devices": (config.trainer.devices * config.trainer.num_nodes, 1),
    }
    for key, (found, only) in expected.items():
        if found != only:
            raise UserError(f"key {key!r}: found {found} {where}, expected {only}")
