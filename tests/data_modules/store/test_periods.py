"""Periods of several pieces, and the windows within one of them."""

from __future__ import annotations

import numpy as np
import pytest

from data_modules.store.periods import Period, split_periods, window_cases
from slams.config.schema import SplitsConfig
from slams.errors import UserError

TIME = np.arange(0.0, 60.0)


def starts(period: Period, window: int, time: np.ndarray = TIME) -> list[float]:
    return time[window_cases(time, period, window)].tolist()


def test_a_period_is_made_of_dates_and_written_as_such() -> None:
    days = ["1970-01-01", "1970-01-10", "1970-02-01", "1970-02-02"]
    period = Period.of("train", days)
    assert period.pieces == ((0, 9), (31, 32))
    assert period.dates == days
    assert str(period) == "1970-01-01 to 1970-01-10, 1970-02-01 to 1970-02-02"
    assert split_periods(SplitsConfig(train=days)) == {"train": period}


def test_it_contains_the_hours_of_its_last_days() -> None:
    period = Period("train", ((0, 9), (20, 29)))
    time = np.array([-0.25, 0.0, 9.75, 10.0, 19.75, 20.0, 29.75, 30.0])
    assert period.pieces_of(time).tolist() == [-1, 0, 0, -1, -1, 1, 1, -1]
    assert period.contains(time).tolist() == [False, True, True, False, False, True, True, False]
    assert not Period("train", ()).contains(time).any()


@pytest.mark.parametrize("apart", [0, 1, 2, 20])
def test_no_window_leaves_its_piece(apart: int) -> None:
    second = 10 + apart
    period = Period("train", ((0, 9), (second, second + 4)))
    for window in (1, 2, 3):
        expected = [*range(11 - window), *range(second, second + 6 - window)]
        assert starts(period, window) == expected
    # Where a window is longer than a piece, that piece has none.
    assert starts(period, 6) == [0, 1, 2, 3, 4]


def test_no_window_spans_days_that_the_store_lacks() -> None:
    time = np.concatenate([np.arange(0.0, 10.0), np.arange(1000.0, 1010.0)])
    period = Period("train", ((0, 1009),))
    assert starts(period, 3, time) == [*range(8), *range(1000, 1008)]


def test_a_piece_without_data_is_refused() -> None:
    period = Period("test", ((0, 9), (90, 99)))
    words = r"data.splits.test: the store has no data from 1970-04-01 to 1970-04-10; it has"
    with pytest.raises(UserError, match=words):
        window_cases(TIME, period, 1)
