"""Steps of a day: their beginnings, the nearest one, and whole days that hold them."""

from __future__ import annotations

import numpy as np
import pytest

from slams.calendar.steps import (
    STEPS,
    beginning_of_step,
    clock_of_steps,
    describe_step,
    nearest_step,
    step_days,
    step_of_store,
    steps_per_day,
    whole_days,
)


@pytest.mark.parametrize(
    ("text", "days", "number", "clock"),
    [("24h", 1.0, 1, "00"), ("12h", 0.5, 2, "00, 12"), ("6h", 0.25, 4, "00, 06, 12, 18")],
)
def test_lengths(text: str, days: float, number: int, clock: str) -> None:
    assert text in STEPS
    assert step_days(text) == days
    assert steps_per_day(days) == number
    assert clock_of_steps(days) == clock
    assert describe_step(days) == text


def test_a_store_without_the_attribute_has_days() -> None:
    assert step_of_store({}) == 1.0
    assert step_of_store({"step_hours": 6}) == 0.25


def test_beginning_and_nearest_step() -> None:
    # Before 1970 too: 1969-12-31 17:00 belongs to the step of 12 UTC, and is nearest to 18 UTC.
    time = np.array([-7 / 24, 0.0, 2.9 / 24, 3 / 24, 5.9 / 24, 6 / 24, 23 / 24])
    assert beginning_of_step(time, 0.25).tolist() == [-0.5, 0, 0, 0, 0, 0.25, 0.75]
    assert nearest_step(time, 0.25).tolist() == [-0.25, 0, 0, 0.25, 0.25, 0.25, 1]
    assert beginning_of_step(time, 1.0).tolist() == [-1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("count", "step", "days"), [(3, 1.0, 3), (1, 0.25, 1), (4, 0.25, 1), (5, 0.25, 2), (0, 0.5, 0)]
)
def test_whole_days(count: int, step: float, days: int) -> None:
    assert whole_days(count, step) == days
