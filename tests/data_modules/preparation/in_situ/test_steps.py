"""Values of station reports at steps of six hours, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_modules.preparation.in_situ.steps import step_of_reports, step_values
from data_modules.store.steps import DAYS, Steps
from slams.config.schema import StationSourceConfig
from slams.fields import FieldSpec

INSTANTS = Steps(0.25, frozenset({"2m_temperature", "temperature"}))
MEANS = Steps(0.25)
DAY = 16436  # 2015-01-01


def table(variable: str, rows: list[tuple], level: float = np.nan) -> pd.DataFrame:
    """Return reports of one station: (ISO time, hours, value[, level])."""
    return pd.DataFrame(
        {
            "station_id": "A",
            "time": pd.to_datetime([f"2015-01-{row[0]}" for row in rows]).astype("datetime64[ns]"),
            "hours": [float(row[1]) for row in rows],
            "variable": variable,
            "level": [float(row[3]) if len(row) > 3 else level for row in rows],
            "value": [float(row[2]) for row in rows],
            "accepted": True,
        }
    )


def values(reports: pd.DataFrame, channel: str, steps: Steps, **config: float) -> dict:
    found, short = step_values(
        reports, [FieldSpec.parse(channel)], StationSourceConfig(**config), steps
    )
    return {
        row.day - DAY: (row.value, round(row.hours_after, 6)) for row in found.itertuples()
    } | ({"short": sum(short.values())} if short else {})


REPORTS = [
    ("01T02:59", 0, 1),  # nearer to 00 than to 06 UTC, but not as near as the next one
    ("01T00:50", 0, 2),
    ("01T05:50", 0, 3),
    ("01T06:20", 0, 4),
    ("01T10:00", 0, 7),
    ("01T12:30", 0, 8),  # nearer than the one before
    ("01T21:00", 0, 5),  # as near to 18 as to 24: of the later step
    ("01T21:30", 24, 6),  # the mean of a day is no instant of a step
]


def test_instants_are_the_nearest_reports_within_half_a_step():
    found = values(table("2m_temperature", REPORTS), "2m_temperature", INSTANTS)
    assert found == {
        0: (2, round(50 / 60, 6)),
        0.25: (3, round(-10 / 60, 6)),
        0.5: (8, 0.5),
        1.0: (5, -3.0),
    }


def test_means_are_of_the_step_that_begins():
    found = values(table("2m_temperature", REPORTS), "2m_temperature", MEANS)
    assert found[0] == (2, round((2 + 59 / 60 + 50 / 60 + 5 + 50 / 60) / 3, 6))
    assert found[0.25] == (5.5, round((20 / 60 + 4) / 2, 6))
    assert found[0.5] == (8, 0.5)
    assert found[0.75] == (5, 3.0)
    assert len(found) == 4


def test_precipitation_is_a_rate_over_the_step():
    hourly = [(f"01T{hour:02d}:00", 1, 0.5) for hour in range(1, 7)]
    rows = [*hourly, ("01T12:00", 6, 9), ("01T18:00", 12, 7), ("01T14:00", 1, 3)]
    found = values(
        table("total_precipitation_24hr", rows), "total_precipitation_24hr", MEANS, coverage=0.75
    )
    # 3 mm and 9 mm in six hours; 12 hours are no part of a step, and one hour of it is too few.
    assert found == {0: (12, 3.0), 0.25: (36, 3.0), "short": 1}


def test_the_nearest_sounding_is_interpolated():
    rows = [
        ("01T11:30", 0, 280, 900),
        ("01T11:30", 0, 270, 800),
        ("01T13:00", 0, 300, 850),
        ("01T18:10", 0, 290, 925),  # does not reach the level
    ]
    found = values(table("temperature", rows), "temperature@850", INSTANTS)
    share = np.log(900 / 850) / np.log(900 / 800)
    assert list(found) == [0.5]
    assert found[0.5][0] == pytest.approx(280 - 10 * share)
    assert found[0.5][1] == -0.5


def test_steps_of_reports():
    reports = table("2m_temperature", REPORTS)
    assert (step_of_reports(reports, DAYS) == DAY).all()
    assert (step_of_reports(reports, INSTANTS) - DAY).tolist()[:7] == [
        0,
        0,
        0.25,
        0.25,
        0.5,
        0.5,
        1.0,
    ]
    assert (step_of_reports(reports, MEANS) - DAY).tolist()[:7] == [0, 0, 0, 0.25, 0.25, 0.5, 0.75]


def test_the_steps_of_a_store_by_its_notes():
    attributes = {
        "step_hours": 6,
        "sources": [
            {"time": "2m_temperature: mean of 6 instants per 6 h; temperature: instant at 00 UTC"}
        ],
    }
    steps = Steps.of(attributes)
    assert steps.length == 0.25
    assert "temperature" in steps.instants
    assert not {"2m_temperature", "outgoing_longwave_radiation"} & steps.instants
