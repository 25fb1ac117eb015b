"""Arguments of a model: days in every form that has one meaning, whole numbers, lists."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from slams.errors import UserError
from slams.stages.model_inputs import as_day, as_list, check_number

DAY = 11411  # 2001-03-30
EAST = timezone(timedelta(hours=5))


@pytest.mark.parametrize(
    "time",
    [
        "2001-03-30",
        "20010330",
        "2001-03-30T23:59Z",
        np.str_("2001-03-30 06:00"),
        date(2001, 3, 30),
        datetime(2001, 3, 30, 23),
        datetime(2001, 3, 31, 3, tzinfo=EAST),
        datetime(2001, 3, 30, 3, tzinfo=UTC),
        pd.Timestamp("2001-03-29T20:00-0500"),
        np.datetime64("2001-03-30"),
        np.array("2001-03-30T06", dtype="datetime64[ns]"),
        xr.DataArray(np.datetime64("2001-03-30", "ns")),
    ],
)
def test_a_day_has_many_forms(time: object) -> None:
    assert as_day(time) == DAY


@pytest.mark.parametrize(
    "time",
    [
        np.int64(20010330), 20010330, 11411.0, True, None, "", "now", "today", "10:00", "2001",
        "03/04/2001", "2001-02-30", pd.NaT, np.datetime64("NaT"), "NaT", ["2001-03-30"],
        xr.DataArray(np.array(["2001-03-30"], dtype="datetime64[ns]"), dims="time"),
        pd.Period("2001-03"), b"2001-03-30",
    ],
)  # fmt: skip
def test_what_is_no_day_is_refused_in_one_line(time: object) -> None:
    with pytest.raises(UserError, match=r"time: found .*, expected a day such as") as error:
        as_day(time)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("time", ["1677-12-31", "2262-01-01", "9999-01-01", "0001-01-01"])
def test_days_that_nanoseconds_cannot_count_are_refused(time: str) -> None:
    with pytest.raises(UserError, match=f"found {time}, expected a day from 1678-01-01 to 2261"):
        as_day(time)


def test_one_or_several_observations_are_a_list() -> None:
    table = pd.DataFrame({"value": [1.0]})
    assert as_list(None) == []
    assert as_list(table)[0] is table
    assert len(as_list(xr.DataArray(1.0))) == 1
    for several in ([table, table], (table, table), (one for one in (table, table))):
        assert len(as_list(several)) == 2
    for wrong in ("obs.csv", Path("obs.csv"), {"obs": table}, 3):
        with pytest.raises(UserError, match=f"found {type(wrong).__name__}, expected a pandas"):
            as_list(wrong)


def test_numbers_are_whole_and_within_bounds() -> None:
    for value in (2, np.int64(3), 5):
        check_number("members", value, 2, 5)
    for value in (2.0, "3", None, True):
        with pytest.raises(UserError, match=r"members: found .*, expected a whole number"):
            check_number("members", value, 2)
    with pytest.raises(UserError, match="found 1, expected at least 2"):
        check_number("members", 1, 2)
    with pytest.raises(UserError, match="found 6, expected at most 5"):
        check_number("members", 6, 2, 5)
