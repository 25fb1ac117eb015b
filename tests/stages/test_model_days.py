"""Images of a cycle are given to the day that their values cover."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from data_modules.store.steps import DAYS, Steps
from slams.calendar.days import day_number, day_of
from slams.errors import UserError
from slams.stages.model_days import daily_observations

_DATES = np.datetime64("2001-03-28", "ns") + np.arange(3) * np.timedelta64(1, "D")
_FIRST = day_number(day_of(float((_DATES[0] - np.datetime64(0, "s")) / np.timedelta64(1, "D"))))


def images(stamps: np.ndarray) -> xr.Dataset:
    """Return images whose value is the number of their day."""
    values = np.zeros((3, 2, 4)) + np.arange(3)[:, None, None]
    return xr.Dataset({"olr": (("time", "latitude", "longitude"), values)}, {"time": stamps})


def of_days(given: xr.Dataset, steps: Steps = DAYS, first: float = _FIRST) -> list[float]:
    own = daily_observations(given, first, 3, steps, "olr")
    found = [own(first + number * steps.length) for number in range(3)]
    return [float(one[0]["olr"].values[0, 0, 0]) if one else np.nan for one in found]


def test_images_are_of_the_day_of_their_stamp() -> None:
    assert of_days(images(_DATES)) == [0, 1, 2]
    assert of_days(images(_DATES + np.timedelta64(23, "h"))) == [0, 1, 2]
    # Rounded to seconds before midnight.
    assert of_days(images(_DATES - np.timedelta64(2, "s"))) == [0, 1, 2]


def test_a_mean_stamped_at_its_end_is_of_the_day_that_its_bounds_cover() -> None:
    stamps = _DATES + np.timedelta64(1, "D")
    given = images(stamps)
    given["time"].attrs["bounds"] = "time_bnds"
    given["time_bnds"] = (("time", "nv"), np.stack([_DATES, stamps], axis=1))
    assert of_days(given) == [0, 1, 2]
    np.testing.assert_equal(of_days(images(stamps)), [np.nan, 0, 1])


def test_a_mean_over_six_hours_is_of_the_step_that_begins_then() -> None:
    stamps = _DATES[0] + np.arange(3) * np.timedelta64(6, "h")
    given = images(stamps + np.timedelta64(3, "h"))
    assert of_days(given, Steps(0.25)) == [0, 1, 2]
    # An instant at 03 UTC is as near to the step before as to that after, which takes it.
    instants = Steps(0.25, frozenset({"olr"}))
    np.testing.assert_equal(of_days(given, instants), [np.nan, 0, 1])


def test_images_of_other_days_are_refused() -> None:
    with pytest.raises(UserError, match=r"all are of 2001-03-28 to 2001-03-30, expected some of"):
        of_days(images(_DATES), first=_FIRST + 9)
