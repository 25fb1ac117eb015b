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
from data_modules.sources.stations.reports.station_list import read_station_list
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
    bad = ghcn_stations(tmp_path / "bad.txt", [("USW00094728", 95.0, 10.0, 1.0), STATIONS[1]])
    with pytest.raises(UserError, match=r"USW00094728.*95, 10 degrees"):
        read(tmp_path, str(bad))
    with pytest.raises(UserError, match=r"station_list.*found nothing"):
        read_station_list("", KEY, LISTED)
    with pytest.raises(UserError, match=r"station_list: .*missing or truncated"):
        read_station_list(str(tmp_path / "absent.txt"), KEY, LISTED)
    twice = ghcn_stations(tmp_path / "twice.txt", [STATIONS[0], STATIONS[0]])
    with pytest.raises(UserError, match=r"USW00094728 is listed twice"):
        read_station_list(str(twice), KEY, LISTED)
    commas = write_lines(tmp_path / "commas.txt", ["USW00094728,40.7789,-73.9692,42.7"])
    with pytest.raises(UserError, match=r"line 1 .*fixed-width"):
        read_station_list(str(commas), KEY, LISTED)


# Files with a header line, by station, and of fixed width; one bad row among many.

LINES = [
    f"USW00094728,2020010{day},{element},{value},,,W,"
    for day in (1, 2, 3)
    for element, value in (("TMAX", 50 + day), ("TMIN", day), ("PRCP", 10 * day))
]


def month(element, values, station="USW00094728"):
    """Return a line of a file of fixed width: value, MFLAG, QFLAG, SFLAG for 31 days."""
    days = [*values, *[(-9999, "")] * (31 - len(values))]
    return f"{station}202001{element}" + "".join(f"{v:5d} {flag or ' '}W" for v, flag in days)


def test_a_header_line_names_the_columns(tmp_path, listed):
    plain = read(tmp_path, listed, LINES).table
    header = "ID,DATE,ELEMENT,DATA_VALUE,M_FLAG,Q_FLAG,S_FLAG,OBS_TIME"
    pd.testing.assert_frame_equal(read(tmp_path, listed, [header, *LINES]).table, plain)
    quoted = [",".join(f'"{part}"' for part in line.split(",")) for line in [header, *LINES]]
    pd.testing.assert_frame_equal(read(tmp_path, listed, quoted).table, plain)
    # Another order, with dashes in dates, without times of observation.
    other = ["ELEMENT,ID,DATE,QFLAG,DATA_VALUE"]
    for line in LINES:
        name, day, element, value, _, flag, *_ = line.split(",")
        day = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        other.append(f"{element},{name},{day},{flag},{value}")
    pd.testing.assert_frame_equal(read(tmp_path, listed, other).table, plain)
    with pytest.raises(UserError, match=r"the header lacks value, qflag"):
        read(tmp_path, listed, ["ID,DATE,ELEMENT", *LINES])


def test_lines_may_end_early(tmp_path, listed):
    plain = read(tmp_path, listed, LINES)
    short = read(tmp_path, listed, [LINES[0], *(line.rstrip(",W") for line in LINES[1:])])
    assert short.table["accepted"].all()
    pd.testing.assert_frame_equal(short.table, plain.table)


def test_by_station_as_lines_as_a_table_and_of_fixed_width(tmp_path, listed):
    plain = read(tmp_path, listed, LINES).table
    pd.testing.assert_frame_equal(
        read(tmp_path, listed, LINES, name="USW00094728.csv.gz").table, plain
    )
    # The layout of the table is from memory, see `reports.ghcn_files`.
    names = "STATION,DATE,LATITUDE,LONGITUDE,ELEVATION,NAME,PRCP,PRCP_ATTRIBUTES,SNOW,"
    names += "SNOW_ATTRIBUTES,TMAX,TMAX_ATTRIBUTES,TMIN,TMIN_ATTRIBUTES"
    place = '"USW00094728","2020-01-0{d}","40.7789","-73.9692","42.7","NEW YORK, NY US"'
    rows = [",".join(f'"{name}"' for name in names.split(","))]
    for d in (1, 2, 3):
        values = f'"   {10 * d}",",,W,","    0",",,W","   {50 + d}",",,W","    {d}",",,W"'
        rows.append(place.format(d=d) + "," + values)
    pd.testing.assert_frame_equal(read(tmp_path, listed, rows).table, plain)
    wide = read(tmp_path, listed, [*rows[:3], rows[3].replace('30",",,W,"', '30",",I,W,"')])
    assert wide.counts()["flag: QFLAG I"] == 1
    fixed = [
        month("TMAX", [(51, ""), (52, ""), (53, "")]),
        month("SNOW", [(5, ""), (5, ""), (5, "")]),
        month("TMIN", [(1, ""), (2, ""), (3, "")]),
        month("PRCP", [(10, ""), (20, ""), (30, "")]),
    ]
    assert len(fixed[0]) == 269
    pd.testing.assert_frame_equal(
        read(tmp_path, listed, fixed, name="USW00094728.dly").table, plain
    )
    fixed[3] = month("PRCP", [(10, ""), (20, "I"), (30, "")])
    flagged = read(tmp_path, listed, fixed, name="USW00094728.dly.gz")
    assert flagged.counts()["flag: QFLAG I"] == 1


def many(stations=40):
    """Return lines of so many stations that one bad row is a small share."""
    return [f"US1XX{number:06d},20200101,PRCP,{number},,,N,0700" for number in range(stations)], [
        (f"US1XX{number:06d}", 40.0 + number / 10, -75.0, 10.0) for number in range(stations)
    ]


@pytest.mark.parametrize(
    ("row", "why", "number"),
    [
        ("US1YY000000,20200101,PRCP,25,,,N,", "station not in the list", 1),
        ("US1XX000003,20200101,PRCP,25,,,N,", "several values at once", 2),
        ("US1XX000003,20200102,PRCP,2.5,,,N,", "value that is no whole number", 1),
        ("US1XX000003,20200230,PRCP,25,,,N,", "time unreadable", 1),
        ("US1XX000003,2020010", "line of another layout", 1),
    ],
)
@pytest.mark.parametrize("parts", [False, True])
def test_one_bad_row_is_left_out_and_counted(tmp_path, monkeypatch, row, why, number, parts):
    rows, stations = many()
    listed = str(ghcn_stations(tmp_path / LISTED, stations))
    path = write_lines(tmp_path / "2020.csv", [*rows, row])
    last = np.datetime64("2020-03-02")
    if parts:
        monkeypatch.setattr(ghcn_daily, "_ROWS", 7)
        config = StationSourceConfig("ghcn_daily", str(path), station_list=listed)
        every = list(open_station_parts(config, [BOTH[1]], FIRST, last))
        assert len(every) > 4
        left_out = [one for part in every for one in part.left_out]
        kept = sum(len(part.table) for part in every)
        config = StationSourceConfig("ghcn_daily", str(path), station_list=listed, left_out=0.01)
        with pytest.raises(UserError, match=rf"{why} {number} .*"):
            list(open_station_parts(config, [BOTH[1]], FIRST, last))
    else:
        reports = read_file(path, listed, last=last)
        left_out, kept = reports.left_out, len(reports.table)
        with pytest.raises(UserError, match=rf"at most 1\.0%.*left_out.*: {why} {number} "):
            read_file(path, listed, last=last, left_out=0.01)
    assert [(one.why, one.number) for one in left_out] == [(why, number)]
    assert kept == (39 if why.startswith("several") else 40)


@pytest.mark.parametrize("position", [(0.0, 0.0), (41.0, 75.0), (-41.0, -75.0), (95.0, -75.0)])
def test_a_listed_place_that_cannot_be_is_left_out(tmp_path, position):
    rows, stations = many()
    stations[5] = (stations[5][0], *position, 10.0)
    listed = str(ghcn_stations(tmp_path / LISTED, stations))
    reports = read(tmp_path, listed, rows)
    assert len(reports.table) == 39
    (one,) = reports.left_out
    assert one.number == 1
    assert "US1XX000005" in one.example
