"""Days since 1970-01-01, against dates that are known."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from data_modules.store.checks import iso_date
from slams.calendar.days import TIME_UNITS, day_number, day_of, days_since_epoch, time_stamps


@pytest.mark.parametrize(
    ("day", "number"),
    [
        (date(1970, 1, 1), 0),
        (date(1969, 12, 31), -1),
        (date(2000, 2, 29), 11016),
        (date(1600, 1, 1), -135140),
        (date(2262, 12, 31), 107015),  # later than nanoseconds reach
    ],
)
def test_dates_and_their_numbers(day: date, number: int) -> None:
    assert day_number(day) == number
    assert day_of(number) == day_of(number + 0.75) == day
    assert days_since_epoch(np.array([day], "datetime64[D]")) == [number]
    assert str(time_stamps(number + 0.75)) == f"{day}T18:00:00"
    assert (iso_date(number), iso_date(number + 0.25)) == (str(day), f"{day}T06:00:00")


@pytest.mark.parametrize("unit", ["D", "h", "s", "ms", "ns"])
def test_dates_in_every_unit(unit: str) -> None:
    times = np.array(["1979-06-01", "2020-02-29"], dtype=f"datetime64[{unit}]")
    found = days_since_epoch(times)
    assert found.dtype == np.float64
    assert found.tolist() == [3438.0, 18321.0]


def test_series_and_hours() -> None:
    times = pd.Series(pd.to_datetime(["1970-01-02 06:00", "1969-12-31 12:00"]))
    assert days_since_epoch(times).tolist() == [1.25, -0.5]
    stamps = time_stamps(np.array([[1.25, -0.5]]))
    assert stamps.dtype == np.dtype("datetime64[s]")
    assert stamps.tolist() == [[times[0].to_pydatetime(), times[1].to_pydatetime()]]


def test_a_rounding_error_does_not_change_the_second() -> None:
    assert str(time_stamps(4017.1 / 3 * 3 - 1e-11)) == "1980-12-31T02:24:00"


def test_units_are_those_of_the_numbers() -> None:
    import xarray as xr

    raw = xr.Dataset(coords={"time": ("time", [11016.25], {"units": TIME_UNITS})})
    decoded = xr.decode_cf(raw)
    assert days_since_epoch(decoded["time"].values).tolist() == [11016.25]
