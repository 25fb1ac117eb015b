"""Which steps make a day: by hand, for every place of the stamp; ambiguous axes refused."""

from __future__ import annotations

import numpy as np
import pytest

from data_modules.sources.canonical.daily import Days, find_days_of
from data_modules.sources.canonical.layouts import Held
from slams.errors import UserError

FIRST = 11323.0  # 2001-01-01


def days(hours, held: Held, amount: bool = False, daily: str = "instant") -> Days:
    time = FIRST + np.asarray(hours, dtype=np.float64) / 24
    return find_days_of(time, held, amount, daily, "made-up", "data.source", "a variable")


def held(hours: float | None = 0.0, stamp: str = "start", fixed: bool = True) -> Held:
    return Held("x", hours=hours, stamp=stamp, fixed=fixed)


@pytest.mark.parametrize(
    ("hours", "stamp", "first", "index"),
    [
        # Six-hourly from 00 UTC: what covers the six hours after, around or before the stamp.
        (6, "start", 0, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (6, "end", 0, [[1, 2, 3, 4], [5, 6, 7, 8]]),
        # A day's total at every step: that which ends, or begins, at midnight.
        (24, "end", -1, [[0], [4], [8]]),
        (24, "start", 0, [[0], [4], [8]]),
        # Twelve hours that overlap: the two that follow one another from midnight on.
        (12, "end", 0, [[2, 4], [6, 8]]),
        (None, "start", 0, [[0, 1, 2, 3], [4, 5, 6, 7]]),
    ],
)
def test_steps_of_a_day(hours, stamp, first, index):
    found = days(np.arange(0, 54, 6), held(hours, stamp), amount=True)
    assert found.index.tolist() == index
    assert found.day.tolist() == [FIRST + first + d for d in range(len(index))]
    assert found.how == ("take" if len(index[0]) == 1 else "sum")


def test_stamps_in_the_middle():
    found = days(np.arange(3, 51, 6), held(6, "middle"))
    assert found.index.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert found.how == "mean"
    assert found.day.tolist() == [FIRST, FIRST + 1]


def test_instants():
    hours = np.arange(0, 60, 6)
    assert days(hours, held()).index.tolist() == [[0], [4], [8]]
    means = days(hours, held(), daily="mean")
    assert means.index.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert means.left_out == "1 incomplete day at the ends"
    # An axis in float32 misses midnight by seconds.
    near = days(hours + 1e-3, held())
    assert near.day.tolist() == [FIRST, FIRST + 1, FIRST + 2]


def test_days_cut_off_at_both_ends_are_left_out():
    found = days(np.arange(9, 81, 3), held(3, "start"))
    assert found.day.tolist() == [FIRST + 1, FIRST + 2]
    assert found.index.tolist() == [list(range(5, 13)), list(range(13, 21))]
    assert found.left_out == "2 incomplete days at the ends"


def test_a_day_that_is_missing_altogether_is_no_fault():
    found = days(np.r_[0:24:6, 48:72:6], held(6, "start"))
    assert found.day.tolist() == [FIRST, FIRST + 2]


@pytest.mark.parametrize(
    ("hours", "one", "amount", "match"),
    [
        (np.arange(0, 70, 7), held(7), True, r"steps of 7 h, which do not divide a day"),
        (np.arange(0, 48, 6), held(1), True, r"covers 1 h at steps of 6 h"),
        (np.arange(0, 48, 6), held(9), True, r"covers 9 h, which do not divide a day"),
        (np.arange(3, 48, 6), held(), False, r"no step at 00 UTC, but at 3, 9, 15, 21 UTC"),
        (np.arange(0, 48, 6), held(fixed=False), False, r"every 6 h, and whether"),
        (np.arange(0, 48, 6), held(), True, r"is an amount, and over which hours"),
        (np.arange(0, 480, 120), held(), False, r"a step every 5 days"),
        (np.r_[0, 30, 54], held(), False, r"stamps lie at different hours"),
        (np.arange(0, 96, 24), held(6), False, r"covers 6 h at one step a day"),
        (np.r_[0:24:6, 30:72:6], held(6), True, r"2001-01-02 has 3 of its 4 steps"),
        # A hole in the first day is no day cut off.
        (np.r_[0, 12:72:6], held(6), True, r"2001-01-01 has 3 of its 4 steps"),
        (np.r_[0:60:6, 66], held(6), True, r"2001-01-03 has 3 of its 4 steps"),
        (np.arange(0, 18, 6), held(6), True, r"no day with all its 4 steps"),
    ],
)
def test_ambiguous_axes_are_refused(hours, one, amount, match):
    with pytest.raises(UserError, match=match):
        days(hours, one, amount)
