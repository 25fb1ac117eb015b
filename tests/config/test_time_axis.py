"""Windows, trajectories, observed days and cycles of a recipe fit together, or are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from slams.config.checks import check
from slams.config.loading import load, to_plain
from slams.config.schema import Config
from slams.config.time_axis import analysed, at_length, error_cycle
from slams.errors import UserError
from slams.runs.provenance import run_difference

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def cycling(**settings) -> Config:
    config = load(EXPERIMENTS / "cycling.yaml")
    return replace(config, **settings)


def test_a_trajectory_is_read_as_one_window() -> None:
    config = load(EXPERIMENTS / "trajectory.yaml")
    assert config.data.days == config.data.trajectory > config.data.window
    assert at_length(config).data.window == config.data.trajectory
    assert at_length(config).data.days == config.data.trajectory


def test_a_cycle_takes_consecutive_days_from_the_first() -> None:
    config = analysed(cycling())
    assert config.data.splits.test == ["1984-01-01", "1984-02-29"]
    assert config.data.test_cases == 0


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            {"trajectory": 2, "window": 3},
            "'data.trajectory': found 2, expected at least the 3 days",
        ),
        ({"trajectory": 4, "window": 2}, "'data.window': found 2, expected an odd number of days"),
        ({"trajectory": 5, "window": 3, "lags": [2, 3, 4]}, "persistence fitted for 5, 6 days"),
        ({"trajectory": -1}, "'data.trajectory': found -1, expected at least 0"),
    ],
)
def test_trajectories_that_do_not_fit_are_refused(data: dict, sentence: str) -> None:
    config = Config()
    with pytest.raises(UserError, match=sentence):
        check(replace(config, data=replace(config.data, **data)))


@pytest.mark.parametrize(
    ("days", "sentence"),
    [([0, 3], "found 3, expected days of the window, 0 to 2"), ([1, 1], "listed twice")],
)
def test_observed_days_outside_the_window_are_refused(days: list[int], sentence: str) -> None:
    config = Config()
    config = replace(
        config,
        data=replace(config.data, window=3),
        observations=replace(config.observations, days=days),
    )
    with pytest.raises(UserError, match=sentence):
        check(config)


def test_cycles_that_do_not_fit_are_refused() -> None:
    config = cycling()
    check(config)
    for section, settings, sentence in (
        ("background", {"lag": 2}, "lag of 2 days.*expected damped_persistence of 1 day"),
        ("background", {"kind": "climatology", "analysis_error": 0.0}, "found climatology"),
        ("background", {"recentre_days": 3}, "'background.recentre_days': found 3"),
        ("data", {"window": 3}, "'data.window': found 3"),
        ("assimilation", {"modality_study": 2}, "modality_study': found 2"),
        ("assimilation", {"cycle_days": 400}, "no more than the 182 days of data.splits.test"),
        ("assimilation", {"cycle_inflation": 0.0}, "more than 0"),
        ("trainer", {"devices": 2}, "'trainer.devices': found 2"),
    ):
        changed = replace(config, **{section: replace(getattr(config, section), **settings)})
        with pytest.raises(UserError, match=sentence):
            check(changed)


def test_several_cycles_take_their_own_days() -> None:
    """In order of time, wherever they are listed; each process takes whole cycles."""
    config = cycling()
    section = replace(
        config.assimilation, cycle_days=20, cycle_starts=["1984-03-01", "1984-02-10"]
    )
    trainer = replace(config.trainer, devices=2)
    config = replace(config, assimilation=section, trainer=trainer)
    check(config)
    expected = ["1984-02-10", "1984-02-29", "1984-03-01", "1984-03-20"]
    assert analysed(config).data.splits.test == expected


def test_starts_and_spin_up_that_do_not_fit_are_refused() -> None:
    config = cycling()
    for settings, sentence in (
        ({"cycle_starts": ["1984-01-01", "1984-02-01"]}, "from 1984-02-01 overlaps with the 60"),
        ({"cycle_starts": ["1983-01-01"]}, "found 1983-01-01, expected a day of data.splits.test"),
        ({"cycle_starts": ["1984-06-01"]}, "no more than the 30 days .*1984-06-01 to 1984-06-30"),
        ({"cycle_starts": ["1 June"]}, "expected a day that exists"),
        ({"cycle_starts": ["1984-01-01", "1984-01-01"]}, "listed twice"),
        ({"cycle_spinup": 60}, "less than the 60 days of a cycle"),
        ({"cycle_errors": 30}, "cycle_errors': found 30, expected 0, or at least 50 days"),
        (
            {"cycle_errors": 4000},
            "no more than the [0-9]+ days of the last piece",
        ),
        ({"cycle_start": "analysis"}, "cycle_start': found 'analysis'"),
    ):
        with pytest.raises(UserError, match=sentence):
            check(replace(config, assimilation=replace(config.assimilation, **settings)))


def test_a_cycle_from_the_climatology_needs_persistence_only_where_it_is_used() -> None:
    config = cycling()
    section = replace(config.assimilation, cycle_start="climatology", methods=["climatology"])
    config = replace(
        config,
        assimilation=section,
        background=replace(config.background, kind="climatology"),
    )
    check(config)
    without = replace(config, data=replace(config.data, lags=[2]))
    with pytest.raises(UserError, match=r"'data.lags': found .2., expected 1 among them: climat"):
        check(without)
    check(replace(without, assimilation=replace(section, methods=["letkf_cycled"])))


def test_errors_are_measured_at_the_end_of_the_training_period() -> None:
    config = cycling()
    config = replace(config, assimilation=replace(config.assimilation, cycle_errors=100))
    check(config)
    measured = error_cycle(config)
    last = date.fromisoformat(config.data.splits.train[-1])
    first = last - timedelta(days=99)
    assert analysed(measured).data.splits.test == [first.isoformat(), last.isoformat()]
    assert measured.data.splits.train == []  # splits may not overlap
    config.assimilation.cycle_bias = 0.1
    assert error_cycle(config).assimilation.cycle_bias == 0  # it is the climatology of these days


def test_members_that_are_forecast_have_no_error_of_the_climatology() -> None:
    config = cycling()
    section = replace(config.assimilation, methods=["enkf_cycled"], cycle_bias=0.1)
    with pytest.raises(UserError, match=r"cycle_bias': found 0.1, expected 0 with enkf_cycled"):
        check(replace(config, assimilation=section))


def test_members_are_carried_on_in_cycles_only() -> None:
    config = cycling()
    section = replace(config.assimilation, methods=["enkf_cycled"])
    check(replace(config, assimilation=section))
    section = replace(section, cycle_days=0)
    with pytest.raises(UserError, match=r"'enkf_cycled' keeps .*assimilation.cycle_days"):
        check(replace(config, assimilation=section))


def test_runs_from_before_the_keys_of_cycles_are_those_of_their_defaults() -> None:
    usual = to_plain(Config())
    new = ("cycle_start", "cycle_starts", "cycle_spinup", "enkf_cycled", "letkf_cycled")
    new = (*new, "cycle_bias")
    section = {k: v for k, v in usual["assimilation"].items() if k not in new}
    older = {**usual, "assimilation": section}
    assert run_difference("assimilation", older, usual) is None
    other = {**usual, "assimilation": {**usual["assimilation"], "cycle_spinup": 3}}
    assert run_difference("assimilation", older, other).key == "assimilation.cycle_spinup"


def test_an_analysis_error_needs_persistence() -> None:
    config = Config()
    for background, sentence in (
        (replace(config.background, kind="climatology", analysis_error=0.2), "analysis_error"),
        (replace(config.background, analysis_error=1.0), "less than 1"),
    ):
        with pytest.raises(UserError, match=sentence):
            check(replace(config, background=background))
