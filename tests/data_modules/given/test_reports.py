"""Tables of reports: names, units, times, periods, and refusals."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from data_modules.given.reports import days_of_table
from data_modules.sources.stations.reports.user_table import read_table
from slams.errors import UserError
from slams.variables import OTHER_NAMES, UNITS, find_variable
from tests.data_modules.given.models import table


def read(**columns: object) -> pd.DataFrame:
    return read_table(table(**columns), "obs.csv").table


def test_a_short_name_stands_for_one_variable() -> None:
    names = [*UNITS, *(short for shorts in OTHER_NAMES.values() for short in shorts)]
    assert len(set(names)) == len(names)
    assert all(find_variable(name) in UNITS for name in names)
    assert find_variable(" T2M ") == "2m_temperature"
    assert find_variable("no such") is None


def test_the_required_columns_are_enough() -> None:
    (row,) = read().to_dict("records")
    assert row.pop("time") == pd.Timestamp("2001-03-28")
    assert np.isnan(row.pop("elevation"))
    assert np.isnan(row.pop("level"))
    assert row == {
        "station_id": "10, 20",
        "latitude": 10.0,
        "longitude": 20.0,
        "hours": 0.0,
        "variable": "2m_temperature",
        "value": 285.0,
        "accepted": True,
        "reason": "",
    }


@pytest.mark.parametrize(
    ("variable", "units", "value", "hours", "expected"),
    [
        ("t2m", "degC", 15.0, None, 288.15),
        ("t2m", "", 288.0, None, 288.0),
        ("t2m", None, 288.0, None, 288.0),
        ("ps", "hPa", 1000.0, None, 1e5),
        ("olr", "J m-2", 240.0 * 10800, 3.0, 240.0),
        ("tp", "m", 0.004, 6.0, 4.0),
        ("tp", "mm", 4.0, 6.0, 4.0),
        ("tp", "mm/h", 2.0, 3.0, 6.0),
        ("tp", "mm day-1", 8.0, 6.0, 2.0),
        ("tp", "kg m-2 s-1", 1 / 86400, None, 1.0),
        ("tp", "mm day-1", 8.0, None, 8.0),
    ],
)
def test_units_are_converted_and_errors_with_them(variable, units, value, hours, expected) -> None:
    columns = {"variable": variable, "units": [units], "value": value, "error": value / 10}
    row = read(**columns, **({} if hours is None else {"hours": hours})).iloc[0]
    assert row["value"] == pytest.approx(expected, rel=1e-12)
    offset = 273.15 if units == "degC" else 0.0
    assert row["error"] == pytest.approx((expected - offset) / 10, rel=1e-12)


def test_levels_may_be_in_other_units() -> None:
    found = read(variable="t", level=[85000.0, 850.0, 500.0], level_units=["Pa", None, "mb"])
    # Two equal values of one level are one report.
    assert found["level"].tolist() == [500.0, 850.0]


def test_times_are_converted_to_utc() -> None:
    hour = datetime.timezone(datetime.timedelta(hours=2))
    times = [
        "2001-03-28T01:00+02:00",
        datetime.datetime(2001, 3, 28, 1, tzinfo=hour),
        pd.Timestamp("2001-03-27T23:00"),
        "2001-03-27 23:00",
    ]
    for time in times:
        assert read(time=[time])["time"].tolist() == [pd.Timestamp("2001-03-27T23:00")]
    zoned = pd.Series(pd.date_range("2001-03-28", periods=2, tz="America/New_York"))
    assert read(time=zoned.tolist())["time"].dt.hour.tolist() == [5, 5]
    assert read(time=[datetime.date(2001, 3, 28)])["time"].tolist() == [pd.Timestamp("2001-03-28")]


def test_a_position_names_a_station_in_one_way() -> None:
    found = read(longitude=[350.0, -10.0], time=["2001-03-28", "2001-03-29"])
    assert set(found["station_id"]) == {"10, 350"}
    assert read(station_id=[725300])["station_id"].tolist() == ["725300"]


def test_categories_are_names() -> None:
    reports = table(variable=["t2m", "t2m"], longitude=[1.0, 2.0])
    reports["variable"] = pd.Categorical(reports["variable"], ["t2m", "tp"])
    assert len(read_table(reports, "obs.csv").table) == 2


def test_time_in_the_index_is_found() -> None:
    indexed = table(time=["2001-03-28", "2001-03-29"]).set_index("time")
    assert len(read_table(indexed, "obs.csv").table) == 2


def test_precipitation_without_hours_is_that_of_its_day() -> None:
    for time in ("2001-03-28", "2001-03-28T06:00"):
        row = read(variable="tp", value=3.0, time=time).iloc[0]
        assert (row["time"], row["hours"]) == (pd.Timestamp("2001-03-29"), 24.0)
    row = read(variable="tp", value=3.0, time="2001-03-28T06:00", hours=6.0).iloc[0]
    assert (row["time"], row["hours"]) == (pd.Timestamp("2001-03-28T06:00"), 6.0)


def test_missing_values_and_repeated_rows_are_counted() -> None:
    reports = read_table(table(value=[285.0, None, 285.0, np.nan]), "obs.csv")
    assert reports.repairs == {"missing values left out": 2, "repeated rows dropped": 1}
    assert len(reports.table) == 1


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"time": [11409]}, "found the number 11409 in column 'time', expected dates such as"),
        ({"time": ["yesterday"]}, "expected times and numbers"),
        ({"time": ["1500-01-01"]}, "expected times and numbers.*Out of bounds"),
        ({"time": [None]}, "row 0 has time NaT, expected a time"),
        ({"value": ["warm"]}, "expected times and numbers"),
        ({"value": [np.nan]}, "found no report with a value"),
        ({"value": [285.0, np.inf]}, "row 1 has value inf, expected a finite number"),
        ({"latitude": [10.0, 91.0]}, r"row 1 has latitude 91.0, expected within \[-90, 90\]"),
        ({"longitude": [-181.0]}, "row 0 has longitude -181.0, expected within"),
        ({"error": [-1.0]}, "row 0 has error -1.0, expected a positive finite number"),
        ({"error": ["large"]}, "expected times and numbers"),
        ({"elevation": [np.inf]}, "row 0 has elevation inf"),
        ({"variable": ["t2n"]}, "row 0 has the unknown variable 't2n'; did you mean 't2m'"),
        ({"variable": ["xyz"]}, "unknown variable 'xyz'; expected one of temperature,"),
        ({"variable": [None]}, "row 0 has the unknown variable 'None'"),
        ({"variable": "t"}, "temperature without a level; state it .hPa. in a column level, or "),
        ({"level": [850]}, "2m_temperature on level 850, expected no level"),
        (
            {"variable": "t", "level": 85000},
            "level 85000.0, expected hPa.*level_units, such as Pa",
        ),
        ({"variable": "t", "level": 850, "level_units": "m"}, "a level in 'm', expected one of"),
        ({"value": [15.0, 16.0]}, "median of 2m_temperature is 15.5.*column units, such as degC"),
        ({"variable": "ps", "value": 1013.0}, "median of surface_pressure.*such as hPa"),
        ({"units": "F"}, "row 0 has 2m_temperature in 'F', expected K"),
        ({"variable": "olr", "value": 2e7, "units": "J m-2"}, "an amount, without the hours"),
        ({"variable": "tp", "hours": 0.0}, "row 0 has hours 0.0, expected 0 to 24, and above 0"),
        ({"hours": [25.0]}, "row 0 has hours 25.0"),
        (
            {"value": [285.0, 286.0], "longitude": [20.0, 20.0]},
            "2m_temperature of station 10, 20 at 2001-03-28T00:00 occurs more than once with diff",
        ),
        (
            {"variable": "t", "level": 850, "value": [285.0, 286.0], "station_id": "A"},
            "temperature at 850 hPa of station A",
        ),
        (
            {"value": [285.0, 286.0], "station_id": "A", "longitude": [350.0, -10.0]},
            "2m_temperature of station A at",
        ),
        (
            {"variable": "tp", "value": [1.0, 2.0], "time": ["2001-03-28T06", "2001-03-28T12"]},
            "several values of precipitation on 2001-03-28; state the hours",
        ),
    ],
)
def test_tables_that_cannot_be(columns: dict, said: str) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        read(**columns)
    assert str(refusal.value).startswith("obs.csv: ")
    assert "\n" not in str(refusal.value)


def test_columns_that_are_missing() -> None:
    with pytest.raises(UserError, match=r"column 'latitude' is missing.*found time.*rename 'lat'"):
        read_table(table().rename(columns={"latitude": "lat"}), "obs.csv")
    with pytest.raises(UserError, match=r"column 'value' is missing; expected .* optionally elev"):
        read_table(table().drop(columns="value"), "obs.csv")
    twice = pd.concat([table(), table()[["value"]]], axis=1)
    with pytest.raises(UserError, match="column 'value' occurs 2 times, expected one"):
        read_table(twice, "obs.csv")
    with pytest.raises(UserError, match="without rows"):
        read_table(table().iloc[:0], "obs.csv")


def test_every_row_belongs_to_the_day_that_its_report_is_used_on() -> None:
    given = pd.concat(
        [
            table(time="2001-03-28T05:00"),
            table(time="2001-03-29T01:00+05:00", hours=np.nan),
            table(time="2001-03-29", hours=24),
            table(time="2001-03-28T12:00", variable="tp", value=3, hours=np.nan),
            table(time="2001-03-29T00:00", variable="tp", value=3, hours=6),
            table(time="2001-03-29T00:00"),
        ]
    )
    first = 11409
    assert days_of_table(given, "obs.csv").tolist() == [first] * 5 + [first + 1]
    assert days_of_table(given.set_index("time"), "obs.csv").tolist() == [first] * 5 + [first + 1]
    for time in (None, "soon", 20010328):
        with pytest.raises(UserError, match="time"):
            days_of_table(table(time=time), "obs.csv")
