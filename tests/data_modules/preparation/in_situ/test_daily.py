"""Daily values: means that no reporting habit biases, profiles, and totals of whole days."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from data_modules.preparation.in_situ.daily import daily_values, profile_value
from slams.config.schema import StationSourceConfig
from slams.fields import FieldSpec

DAY = 18262  # 2020-01-01
WARM, RAIN, ALOFT = (
    FieldSpec.parse(n) for n in ("2m_temperature", "total_precipitation_24hr", "temperature@850")
)


def rows(times, values, variable="2m_temperature", hours=0.0, level=np.nan, accepted=True):
    return pd.DataFrame(
        {
            "station_id": "A",
            "variable": variable,
            "level": level,
            "time": pd.to_datetime(times),
            "hours": hours,
            "value": np.asarray(values, dtype=float),
            "accepted": accepted,
            "reason": "",
        }
    )


def daily(table, channel, **config):
    found, short = daily_values(table, [channel], StationSourceConfig(**config))
    return dict(zip(found["day"], found["value"].round(6), strict=True)), short


def test_a_day_is_the_mean_of_its_quarters():
    times = ["2020-01-01T03:00", "2020-01-01T09:00", "2020-01-01T21:00"]
    table = rows(times, [270, 280, 274])
    # Six reports in the afternoon weigh as one quarter.
    table = pd.concat(
        [table, rows(pd.date_range("2020-01-01T12:00", periods=6, freq="1h"), [288] * 6)]
    )
    found, short = daily(table, WARM)
    assert found == {DAY: (270 + 280 + 288 + 274) / 4}
    assert short == {}


def test_a_day_without_a_quarter_has_no_value():
    table = rows(["2020-01-01T03:00", "2020-01-01T09:00", "2020-01-01T15:00"], [270, 280, 290])
    found, short = daily(table, WARM)
    assert (found, short) == ({}, {"2m_temperature: days with too few reports": 1})
    assert daily(table, WARM, quarters=3)[0] == {DAY: 280.0}
    table.loc[1, "accepted"] = False
    assert daily(table, WARM, quarters=3)[0] == {}


def test_midnight_belongs_to_the_day_it_begins():
    table = rows(["2020-01-01T23:59", "2020-01-02T00:00"], [270, 280])
    assert daily(table, WARM, quarters=1)[0] == {DAY: 270.0, DAY + 1: 280.0}


def test_daily_values_of_an_archive_are_taken_as_they_are():
    table = rows(["2020-01-02T00:00"], [281], hours=24.0)
    assert daily(table, WARM)[0] == {DAY: 281.0}
    both = pd.concat([table, rows(["2020-01-01T01:00"], [260])])
    assert daily(both, WARM, quarters=1)[0] == {DAY: 281.0}


def test_hourly_and_six_hourly_totals():
    hourly = rows(
        pd.date_range("2020-01-01T01:00", periods=24, freq="1h"), [0.5] * 24, RAIN.variable, 1.0
    )
    assert daily(hourly, RAIN)[0] == {DAY: 12.0}
    six = rows(
        pd.date_range("2020-01-01T06:00", periods=4, freq="6h"), [1, 2, 3, 4], RAIN.variable, 6.0
    )
    assert daily(six, RAIN)[0] == {DAY: 10.0}
    # With an hour missing, the six-hour sums cover more.
    assert daily(pd.concat([hourly.iloc[1:], six]), RAIN)[0] == {DAY: 10.0}
    found, short = daily(hourly.iloc[1:], RAIN)
    assert (found, short) == ({}, {"total_precipitation_24hr: days with too few reports": 1})
    assert daily(hourly.iloc[1:], RAIN, coverage=0.9)[0] == {DAY: 11.5}


def test_overlapping_periods_count_once():
    every = rows(
        pd.date_range("2020-01-01T06:00", periods=19, freq="1h"), [6.0] * 19, RAIN.variable, 6.0
    )
    assert daily(every, RAIN)[0] == {DAY: 24.0}


def test_a_period_belongs_to_the_day_of_its_middle():
    morning = rows(["2020-01-02T06:00"], [7], RAIN.variable, 24.0)
    assert daily(morning, RAIN)[0] == {DAY: 7.0}
    noon = rows(["2020-01-02T12:00"], [7], RAIN.variable, 24.0)
    assert daily(noon, RAIN)[0] == {DAY + 1: 7.0}


def test_profiles_are_read_as_reported_or_interpolated_in_log_pressure():
    pressure = np.array([1000.0, 900.0, 700.0, 500.0])
    temperature = np.array([290.0, 284.0, 271.0, 252.0])
    assert profile_value(pressure, temperature, 700.0) == 271.0
    expected = 284 + math.log(900 / 850) / math.log(900 / 700) * (271 - 284)
    assert profile_value(pressure, temperature, 850.0) == pytest.approx(expected)
    # A gap of a factor of 1.4 is too wide; beyond the ends there is nothing.
    assert math.isnan(profile_value(pressure, temperature, 600.0))
    assert math.isnan(profile_value(pressure, temperature, 1010.0))
    assert math.isnan(profile_value(pressure, temperature, 400.0))
    assert math.isnan(profile_value(np.array([]), np.array([]), 850.0))
    # A profile that is linear in log pressure is met exactly.
    levels = np.array([300.0, 280.0, 250.0])
    assert profile_value(levels, 10 * np.log(levels), 260.0) == pytest.approx(10 * math.log(260))


def test_soundings_of_a_day_are_averaged():
    table = pd.concat(
        rows([time], [value], "temperature", level=level)
        for time, level, value in (
            ("2020-01-01T00:00", 850.0, 270.0),
            ("2020-01-01T12:00", 900.0, 280.0),
            ("2020-01-01T12:00", 850.0, 274.0),
            ("2020-01-02T00:00", 850.0, 275.0),
        )
    )
    assert daily(table, ALOFT)[0] == {DAY: 272.0, DAY + 1: 275.0}
    found, short = daily(table, ALOFT, soundings=2)
    assert found == {DAY: 272.0}
    assert short == {"temperature@850: days with too few reports": 1}


def test_a_mean_over_hours_on_a_level_belongs_to_the_day_of_their_middle():
    table = rows(["2020-01-02T00:00"], [270], "temperature", hours=24.0, level=850.0)
    assert daily(table, ALOFT)[0] == {DAY: 270.0}
