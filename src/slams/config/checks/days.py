"""Checks of a recipe's days: windows, trajectories, observed days and cycles fit one another."""

from __future__ import annotations

from slams.config.checks.rules import check_that
from slams.config.schema import Config
from slams.config.time_axis import FEWEST_ERROR_DAYS, SPIN_UP, cycle_pieces, error_cycle
from slams.errors import UserError
from slams.plugins.methods import check_method

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
    section = config.assimilation
    cycles = len(cycle_pieces(config))
    scored = section.cycle_spinup < section.cycle_days
    why = f"less than the {section.cycle_days} days of a cycle (assimilation.cycle_days)"
    check_that(scored, config, "assimilation.cycle_spinup", why)
    own = [name for name in section.methods if check_method(name)[0].cycled]
    why = f"0 with {', '.join(own)}: members that are forecast have no climatology to be damped to"
    check_that(not (section.cycle_bias and own), config, "assimilation.cycle_bias", why)
    if section.cycle_errors:
        _check_errors(config)
    persistent = background.kind == "damped_persistence" and background.lag == 1
    if section.cycle_start == "climatology" and background.kind == "climatology":
        _check_persistence(config)
    elif not persistent:
        raise UserError(
            f"key 'background.kind': found {background.kind} with a lag of {background.lag} days "
            f"{where}, expected damped_persistence of 1 day, or climatology where "
            f"assimilation.cycle_start is climatology: the analysis of a day is the background "
            f"of the next"
        )
    expected = {
        "background.recentre_days": (background.recentre_days, 0),
        "data.window": (config.data.days, 1),
        "assimilation.modality_study": (section.modality_study, 0),
    }
    for key, (found, only) in expected.items():
        if found != only:
            raise UserError(f"key {key!r}: found {found} {where}, expected {only}")
    processes = config.trainer.devices * config.trainer.num_nodes
    if processes > cycles:
        raise UserError(
            f"key 'trainer.devices': found {processes} processes {where}, expected no more than "
            f"the number of cycles, {cycles}: each process takes whole cycles"
        )


def _check_errors(config: Config) -> None:
    """Refuse too few days for measuring the errors of a cycle, and more than there are."""
    why = f"0, or at least {FEWEST_ERROR_DAYS} days, of which the first {SPIN_UP} do not count"
    enough = config.assimilation.cycle_errors >= FEWEST_ERROR_DAYS
    check_that(enough, config, "assimilation.cycle_errors", why)
    if config.data.splits.train:
        error_cycle(config)


def _check_persistence(config: Config) -> None:
    """Refuse methods that are cycled by persistence where no persistence of one day is fitted."""
    persistent = [n for n in config.assimilation.methods if not check_method(n)[0].cycled]
    if persistent and 1 not in config.data.lags:
        raise UserError(
            f"key 'data.lags': found {config.data.lags}, expected 1 among them: "
            f"{persistent[0]} is cycled by persistence of one day"
        )
