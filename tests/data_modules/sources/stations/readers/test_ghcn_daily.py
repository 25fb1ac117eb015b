"""GHCN-Daily: numbers, flags, days, and faults."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from data_modules.sources.stations import GHCN_DAILY, open_station_parts
from data_modules.sources.stations.readers import ghcn_daily
from data_modules.sources.stations.readers.ghcn_daily import read_ghcn_daily
from data_modules.sources.stations.reports.request import ReportRequest
from data_modules.sources.stations.reports.station_list import (
    check_positions,
    read_station_list,
)
from slams.config.schema import StationSourceConfig
from slams.errors import UserError
from tests.data_modules.sources.stations.archives import (
    FIRST,
    KEY,
    LAST,
    ghcn_stations,
    write_lines,
)

LISTED = "ghcnd-stations.txt"
STATIONS = [("USW00094728", 40.7789, -73.9692, 42.7), ("AE000041196", 25.333, 55.517, -999.9)]
BOTH = ("2m_temperature", "total_precipitation_24hr")
ROWS = [
    "USW00094728,20200101,TMAX,56,,,W,2400",
    "USW00094728,20200101,TMIN,11,,,W,2400",
    "USW00094728,20200101,PRCP,254,,,W,0700",
    "USW00094728,20200101,SNOW,0,,,W,",
    "USW00094728,20200102,TMAX,99,,I,W,2400",
    "USW00094728,20200102,TMIN,22,,,W,2400",
    "AE000041196,20200102,TAVG,193,H,,S,",
    "AE000041196,20200102,TMAX,250,,,S,",
    "AE000041196,20200102,TMIN,140,,,S,",
    "AE000041196,20200103,PRCP,0,T,,S,",
    "AE000041196,20200109,PRCP,77,,,S,",
]


@pytest.fixture
def listed(tmp_path):
    return str(ghcn_stations(tmp_path / "ghcnd-stations.txt", STATIONS))


def read_file(path, listed, variables=BOTH, last=LAST, **options):
    config = StationSourceConfig("ghcn_daily", str(path), station_list=listed, **options)
    return read_ghcn_daily(ReportRequest(config, variables, FIRST, last, KEY))


def read(tmp_path, listed, rows=ROWS, variables=BOTH, name="2020.csv", **options):
    return read_file(write_lines(tmp_path / name, rows), listed, variables, **options)


def values(reports, station, variable):
    table = reports.table
    own = table[(table["station_id"] == station) & (table["variable"] == variable)]
    own = own[own["accepted"]]
    return dict(zip(own["time"].dt.strftime("%m-%d"), own["value"].round(6), strict=True))


def test_tenths_become_kelvin_and_millimetres(tmp_path, listed):
    reports = read(tmp_path, listed)
    # The mean of 5.6 and 1.1 degrees; the period ends with the day.
    assert values(reports, "USW00094728", "2m_temperature") == {"01-02": 276.5}
    assert values(reports, "USW00094728", "total_precipitation_24hr") == {"01-02": 25.4}
    # TAVG takes precedence over the mean of the extremes.
    assert values(reports, "AE000041196", "2m_temperature") == {"01-03": 292.45}
    # Values outside the days are left out.
    assert values(reports, "AE000041196", "total_precipitation_24hr") == {"01-04": 0.0}
    assert set(reports.table["hours"]) == {24.0}


def test_positions_come_from_the_list(tmp_path, listed):
    first = read(tmp_path, listed).table.drop_duplicates("station_id").set_index("station_id")
    assert first.loc["USW00094728", ["latitude", "longitude"]].tolist() == [40.7789, -73.9692]
    assert first.loc["USW00094728", "elevation"] == 42.7
    assert np.isnan(first.loc["AE000041196", "elevation"])


def test_a_quality_flag_rejects_and_is_counted(tmp_path, listed):
    reports = read(tmp_path, listed)
    assert reports.counts()["flag: QFLAG I"] == 1
    # The maximum is flagged: no mean of that day.
    assert "01-03" not in values(reports, "USW00094728", "2m_temperature")


def test_compressed_files_and_directories(tmp_path, listed):
    plain = read(tmp_path, listed).table
    packed = read(tmp_path, listed, name="packed.csv.gz").table
    pd.testing.assert_frame_equal(plain, packed)
    folder = tmp_path / "years"
    folder.mkdir()
    write_lines(folder / "2019.csv", ROWS[:4])
    write_lines(folder / "2020.csv.gz", ROWS[4:])
    both = read_file(folder, listed).table
    pd.testing.assert_frame_equal(plain, both)


@pytest.mark.parametrize("lines", [1, 4, 6, 100])
@pytest.mark.parametrize("morning", ["as_dated", "day_before"])
def test_parts_hold_whole_stations_and_the_same_values(
    tmp_path, listed, monkeypatch, lines, morning
):
    monkeypatch.setattr(ghcn_daily, "_ROWS", lines)
    rows = [
        *ROWS,
        ROWS[2],
        "AE000041196,20200103,TMAX,-9999,,,S,",
        "USW00094728,20200103,PRCP,1,,,W,",
    ]
    path = write_lines(tmp_path / "2020.csv", rows)
    config = StationSourceConfig("ghcn_daily", str(path), station_list=listed, morning=morning)
    whole = GHCN_DAILY.read(config, BOTH, FIRST, LAST, "observations.stations.source")
    parts = list(open_station_parts(config, BOTH, FIRST, LAST))
    assert len(parts) == (1 if lines == 100 else 2)
    assert [part.table["station_id"].nunique() for part in parts] == [2 // len(parts)] * len(parts)
    names = ["station_id", "variable", "time"]
    joined = pd.concat([part.table for part in parts]).sort_values(names, ignore_index=True)
    pd.testing.assert_frame_equal(whole.table.sort_values(names, ignore_index=True), joined)
    assert sum((Counter(p.repairs) for p in parts), Counter()) == Counter(whole.repairs)
    assert {*whole.repairs} >= {"missing values (-9999) left out", "repeated rows dropped"}
    assert all(part.conventions == whole.conventions for part in parts)


def test_a_station_without_a_value_has_no_part(tmp_path, listed, monkeypatch):
    monkeypatch.setattr(ghcn_daily, "_ROWS", 1)
    path = write_lines(tmp_path / "2020.csv", [ROWS[6], "USW00094728,20200103,PRCP,-9999,,,W,"])
    config = StationSourceConfig("ghcn_daily", str(path), station_list=listed)
    (part,) = open_station_parts(config, BOTH, FIRST, LAST)
    assert part.table["station_id"].tolist() == ["AE000041196"]
    write_lines(path, ["USW00094728,20200103,PRCP,-9999,,,W,"])
    with pytest.raises(UserError, match="found no value"):
        list(open_station_parts(config, BOTH, FIRST, LAST))


def test_elements_narrow_what_is_read(tmp_path, listed):
    reports = read(tmp_path, listed, elements=["TMAX", "TMIN"])
    # Without TAVG, the mean of 25 and 14 degrees; no precipitation.
    assert values(reports, "AE000041196", "2m_temperature") == {"01-03": 292.65}
    assert set(reports.table["variable"]) == {"2m_temperature"}
    with pytest.raises(UserError, match=r"elements: 'TOBS'.*PRCP, TAVG, TMAX, TMIN"):
        read(tmp_path, listed, elements=["TOBS"])


def test_morning_observations_stay_or_move_a_day_back(tmp_path, listed):
    kept, moved = read(tmp_path, listed), read(tmp_path, listed, morning="day_before")
    rain = "total_precipitation_24hr"
    assert values(kept, "USW00094728", rain) == {"01-02": 25.4}
    assert values(moved, "USW00094728", rain) == {"01-01": 25.4}
    assert moved.repairs["morning observations moved to the day before"] == 1
    assert values(moved, "USW00094728", "2m_temperature") == {"01-02": 276.5}
    assert "as_dated" in kept.conventions["day"]
    assert "day_before" in moved.conventions["day"]


def test_a_changed_hour_of_observation_is_refused(tmp_path, listed):
    """Moving a morning's value may put two values on one day."""
    rows = ["USW00094728,20200101,TMAX,56,,,W,2400", "USW00094728,20200102,TMAX,60,,,W,0700"]
    read(tmp_path, listed, [*rows, *ROWS[6:]])
    with pytest.raises(UserError, match=r"TMAX.*20200102 occurs more than once"):
        read(tmp_path, listed, rows, morning="day_before")


def test_repairs_are_counted(tmp_path, listed):
    rows = [*ROWS, ROWS[2], "USW00094728,20200103,PRCP,-9999,,,W,"]
    rows += ["USW00094728,20200103,TMAX,10,,,W,", "USW00094728,20200103,TMIN,20,,,W,"]
    reports = read(tmp_path, listed, rows)
    assert reports.repairs == {
        "missing values (-9999) left out": 1,
        "repeated rows dropped": 1,
        "days with TMAX below TMIN left out": 1,
    }
    assert values(reports, "USW00094728", "2m_temperature") == {"01-02": 276.5}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("ID,DATE,ELEMENT,VALUE,M,Q,S,T", r"expected ID,YYYYMMDD.*without a header"),
        ("USW00094728;20200101;TMAX;56;;;W;", r"expected ID,YYYYMMDD"),
        ("USW00094728,20200101,PRCP,2.5,,,W,", r"PRCP of USW00094728.*'2\.5'.*whole number"),
        ("USW00094728,20200101,PRCP,,,,W,", r"PRCP.*''.*whole number"),
        ("USW00094728,20200230,PRCP,25,,,W,", r"expected YYYYMMDD"),
        ("USX00000000,20200101,PRCP,25,,,W,", r"USX00000000 is not in .*ghcnd-stations"),
        ("USW00094728,20200101,PRCP,255,,,W,", r"PRCP.*20200101.*more than once"),
        ("USW00094728,20200101,TMAX,60,,,W,", r"TMAX.*20200101.*more than once"),
    ],
)
def test_faults_are_refused(tmp_path, listed, row, message):
    last = np.datetime64("2020-03-02")
    path = write_lines(tmp_path / "2020.csv", [*ROWS, row])
    with pytest.raises(UserError, match=message):
        read_file(path, listed, last=last)


def test_temperatures_in_other_units_are_refused(tmp_path, listed):
    rows = [f"USW00094728,2020010{d},TAVG,{2931 + d},,,W," for d in (1, 2, 3)]
    with pytest.raises(UserError, match=r"median of 2m_temperature is 566.*other units"):
        read(tmp_path, listed, rows)


def test_an_archive_without_a_value_is_refused(tmp_path, listed):
    with pytest.raises(UserError, match=r"found no value"):
        read(tmp_path, listed, ROWS[-1:])
    with pytest.raises(UserError, match=r"source\.path: .*absent\.csv does not exist"):
        read_file(tmp_path / "absent.csv", listed)
    broken = tmp_path / "2020.csv.gz"
    write_lines(broken, ROWS * 200)
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"2020\.csv\.gz cannot be read"):
        read_file(broken, listed)


def test_faults_of_the_station_list_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"station_list.*found nothing"):
        read_station_list("", KEY, LISTED)
    with pytest.raises(UserError, match=r"station_list: .*missing or truncated"):
        read_station_list(str(tmp_path / "absent.txt"), KEY, LISTED)
    bad = ghcn_stations(tmp_path / "bad.txt", [("USW00094728", 95.0, 10.0, 1.0)])
    with pytest.raises(UserError, match=r"USW00094728.*95, 10 degrees"):
        check_positions(read_station_list(str(bad), KEY, LISTED), str(bad), KEY)
    twice = ghcn_stations(tmp_path / "twice.txt", [STATIONS[0], STATIONS[0]])
    with pytest.raises(UserError, match=r"USW00094728 is listed twice"):
        read_station_list(str(twice), KEY, LISTED)
    commas = write_lines(tmp_path / "commas.txt", ["USW00094728,40.7789,-73.9692,42.7"])
    with pytest.raises(UserError, match=r"line 1 .*fixed-width"):
        read_station_list(str(commas), KEY, LISTED)
