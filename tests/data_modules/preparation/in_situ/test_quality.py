"""Range, step and buddy check: what they reject, and what they must accept."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_modules.preparation.in_situ.quality import buddy_check, check_reports
from slams.config.schema import StationQualityConfig


def series(values, hours=1, station="A", variable="2m_temperature", level=np.nan):
    return pd.DataFrame(
        {
            "station_id": station,
            "variable": variable,
            "level": level,
            "time": np.datetime64("2020-01-01", "ns")
            + np.arange(len(values)) * np.timedelta64(hours, "h"),
            "hours": 0.0,
            "value": np.asarray(values, dtype=float),
            "accepted": True,
            "reason": "",
        }
    )


def rejected(table, **qc):
    found = check_reports(table, StationQualityConfig(**qc))
    return dict(found.loc[~found["accepted"], "reason"])


def test_range():
    table = series([290, 179.9, 335.1, np.nan, 300])
    assert rejected(table, step=0) == {1: "range", 2: "range", 3: "range"}
    assert rejected(table, step=0, range=False) == {}
    rain = series([-0.1, 0, 1850, 1851], variable="total_precipitation_24hr")
    assert rejected(rain) == {0: "range", 3: "range"}


def test_a_spike_is_rejected_and_a_front_is_not():
    assert rejected(series([280, 281, 300, 282, 281])) == {2: "step"}
    assert rejected(series([280, 281, 262, 282, 281])) == {2: "step"}
    # A jump that stays is weather, or a move: no report stands out from both neighbours.
    assert rejected(series([280, 281, 300, 301, 300])) == {}
    assert rejected(series([280, 281, 295.9, 282, 281])) == {}
    assert rejected(series([280, 281, 300, 282, 281]), step=25.0) == {}


def test_the_limit_doubles_with_the_gap_and_ends_with_it():
    assert rejected(series([280, 280, 300, 280], hours=12)) == {}
    assert rejected(series([280, 280, 311, 280], hours=12)) == {2: "step"}
    assert rejected(series([280, 280, 311, 280], hours=37)) == {}


def test_ends_other_stations_and_levels_are_no_neighbours():
    assert rejected(series([300, 280, 280])) == {}
    two = pd.concat([series([280, 280]), series([310], station="B"), series([280], station="C")])
    assert rejected(two) == {}
    levels = pd.concat(
        series([value] * 3, variable="temperature", level=level)
        for value, level in ((280, 850.0), (250, 500.0), (281, 400.0))
    )
    assert rejected(levels) == {}


def test_rejected_reports_are_no_neighbours_and_keep_their_reason():
    table = series([280, 310, 281, 280])
    table.loc[1, ["accepted", "reason"]] = False, "flag: QFLAG I"
    assert rejected(table) == {1: "flag: QFLAG I"}


def test_rain_may_jump():
    assert rejected(series([0, 0, 90, 0], variable="total_precipitation_24hr")) == {}


CIRCLE = np.zeros(6), np.array([0.0, 1.0, 2.0, 3.0, 4.0, 60.0])


def test_buddy_check_finds_the_odd_one_out():
    departures = np.array([[1.0, 1.5, 12.0, 0.5, 1.0, 12.0], [8.0, 9.0, 8.5, 8.0, 9.0, -8.0]])
    wrong = buddy_check(departures, np.full(6, 2.0), *CIRCLE, 500.0, 4.0)
    # The last has no neighbours; a cold wave that all share is weather.
    assert np.argwhere(wrong).tolist() == [[0, 2]]
    assert not buddy_check(departures, np.full(6, 3.0), *CIRCLE, 500.0, 4.0).any()


def test_buddy_check_needs_three_neighbours():
    departures = np.array([[0.0, 0.0, 30.0, np.nan, np.nan, 0.0]])
    assert not buddy_check(departures, np.full(6, 2.0), *CIRCLE, 500.0, 4.0).any()
    departures[0, 3] = 0.0
    assert buddy_check(departures, np.full(6, 2.0), *CIRCLE, 500.0, 4.0)[0].tolist() == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]


def test_two_wrong_neighbours_of_five_do_not_condemn_the_others():
    departures = np.array([[0.0, 40.0, 0.5, 40.0, 0.2, np.nan]])
    wrong = buddy_check(departures, np.full(6, 2.0), *CIRCLE, 700.0, 4.0)
    # Two of the four neighbours of a good station are wrong: its median is in between.
    assert wrong[0, [1, 3]].all()
    departures = np.array([[0.0, 40.0, 0.5, 0.1, 0.2, np.nan]])
    wrong = buddy_check(departures, np.full(6, 2.0), *CIRCLE, 700.0, 4.0)
    assert wrong[0].tolist() == [False, True, False, False, False, False]
