"""Steps of each day: by hand, for every position of the stamp; ambiguous axes are refused."""

from __future__ import annotations

import numpy as np
import pytest

from data_modules.sources.canonical.daily import Days, find_days_of
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.reading import Reading
from slams.config.schema import SourceConfig
from slams.errors import UserError

FIRST = 11323.0  # 2001-01-01


def days(hours, variable: VariableLayout, amount: bool = False, daily: str = "instant") -> Days:
    time = FIRST + np.asarray(hours, dtype=np.float64) / 24
    reading = Reading(SourceConfig(path="made-up", daily=daily), (), "data.source")
    return find_days_of(time, variable, amount, "a variable", reading)


def layout(hours: float | None = 0.0, stamp: str = "start", fixed: bool = True) -> VariableLayout:
    return VariableLayout("x", hours=hours, stamp=stamp, fixed=fixed)


@pytest.mark.parametrize(
    ("hours", "stamp", "first", "index"),
    [
        # Six-hourly from 00 UTC: values that cover the six hours after or before the stamp.
        (6, "start", 0, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (6, "end", 0, [[1, 2, 3, 4], [5, 6, 7, 8]]),
        # A daily total at every step: the one that ends, or begins, at midnight.
        (24, "end", -1, [[0], [4], [8]]),
        (24, "start", 0, [[0], [4], [8]]),
        # Overlapping twelve hours: the two that are consecutive from midnight on.
        (12, "end", 0, [[2, 4], [6, 8]]),
        (None, "start", 0, [[0, 1, 2, 3], [4, 5, 6, 7]]),
    ],
)
def test_steps_of_a_day(hours, stamp, first, index):
    found = days(np.arange(0, 54, 6), layout(hours, stamp), amount=True)
    assert found.index.tolist() == index
    assert found.day.tolist() == [FIRST + first + d for d in range(len(index))]
    assert found.how == ("take" if len(index[0]) == 1 else "sum")


def test_stamps_in_the_middle():
    found = days(np.arange(3, 51, 6), layout(6, "middle"))
    assert found.index.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert found.how == "mean"
    assert found.day.tolist() == [FIRST, FIRST + 1]


def test_instants():
    hours = np.arange(0, 60, 6)
    assert days(hours, layout()).index.tolist() == [[0], [4], [8]]
    means = days(hours, layout(), daily="mean")
    assert means.index.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert means.left_out == "1 incomplete day at the ends"
    # An axis in float32 misses midnight by seconds.
    near = days(hours + 1e-3, layout())
    assert near.day.tolist() == [FIRST, FIRST + 1, FIRST + 2]


def test_days_cut_off_at_both_ends_are_left_out():
    found = days(np.arange(9, 81, 3), layout(3, "start"))
    assert found.day.tolist() == [FIRST + 1, FIRST + 2]
    assert found.index.tolist() == [list(range(5, 13)), list(range(13, 21))]
    assert found.left_out == "2 incomplete days at the ends"


def test_a_day_that_is_missing_altogether_is_no_fault():
    found = days(np.r_[0:24:6, 48:72:6], layout(6, "start"))
    assert found.day.tolist() == [FIRST, FIRST + 2]


@pytest.mark.parametrize(
    ("hours", "one", "amount", "match"),
    [
        (np.arange(0, 70, 7), layout(7), True, r"steps of 7 h, which do not divide a day"),
        (np.arange(0, 48, 6), layout(1), True, r"covers 1 h at steps of 6 h"),
        (np.arange(0, 48, 6), layout(9), True, r"covers 9 h, which do not divide a day"),
        (np.arange(3, 48, 6), layout(), False, r"no step at 00 UTC, but at 3, 9, 15, 21 UTC"),
        (
            np.arange(0, 48, 6),
            layout(fixed=False),
            False,
            r"every 6 h, but does not state whether",
        ),
        (np.arange(0, 48, 6), layout(), True, r"is an amount, but does not state the hours"),
        (np.arange(0, 480, 120), layout(), False, r"a step every 5 days"),
        (np.r_[0, 30, 54], layout(), False, r"stamps are at different hours"),
        (np.arange(0, 96, 24), layout(6), False, r"covers 6 h at one step per day"),
        (np.r_[0:24:6, 30:72:6], layout(6), True, r"2001-01-02 has 3 of its 4 steps"),
        # A gap inside the first day does not make it an incomplete day at the end.
        (np.r_[0, 12:72:6], layout(6), True, r"2001-01-01 has 3 of its 4 steps"),
        (np.r_[0:60:6, 66], layout(6), True, r"2001-01-03 has 3 of its 4 steps"),
        (np.arange(0, 18, 6), layout(6), True, r"no day with all its 4 steps"),
    ],
)
def test_ambiguous_axes_are_refused(hours, one, amount, match):
    with pytest.raises(UserError, match=match):
        days(hours, one, amount)
