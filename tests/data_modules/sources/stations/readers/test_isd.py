"""ISD and isd-lite: codes, quality, missing values, traces, and faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_modules.sources.stations.readers.isd import read_isd
from data_modules.sources.stations.readers.isd_lite import read_isd_lite
from data_modules.sources.stations.reports.request import ReportRequest
from data_modules.sources.stations.reports.station_list import read_isd_history
from slams.config.schema import StationSourceConfig
from slams.errors import UserError
from tests.data_modules.sources.stations.archives import (
    FIRST,
    KEY,
    LAST,
    isd_header,
    isd_row,
    write_lines,
)

BOTH = ("2m_temperature", "total_precipitation_24hr")
RAIN = "total_precipitation_24hr"
ROWS = [
    isd_row("2020-01-01T00:00:00", "+0123,1", "06,0012,9,5"),
    isd_row("2020-01-01T00:00:00", "+0125,1", kind="FM-15"),
    isd_row("2020-01-01T03:00:00", "-0041,1"),
    isd_row("2020-01-01T06:00:00", "+9999,9", "06,0000,2,1"),
    isd_row("2020-01-01T09:00:00", "+0999,3"),
    isd_row("2020-01-01T12:00:00", "+0102,6", "06,9999,9,9"),
    isd_row("2020-01-01T18:00:00", "+0100,5", "12,0034,9,7"),
    isd_row("2020-01-01T23:59:00", "+0111,1", "24,0046,9,1", kind="SOD"),
]


def read(tmp_path, rows=ROWS, header=None, variables=BOTH):
    path = write_lines(tmp_path / "11035099999.csv", [header or isd_header(), *rows])
    config = StationSourceConfig(kind="isd", path=str(path))
    return read_isd(ReportRequest(config, variables, FIRST, LAST, KEY))


def accepted(reports, variable):
    table = reports.table[reports.table["accepted"] & reports.table["variable"].eq(variable)]
    return list(zip(table["time"].dt.hour, table["hours"], table["value"].round(6), strict=True))


def test_codes_become_kelvin_and_millimetres(tmp_path):
    reports = read(tmp_path)
    assert accepted(reports, "2m_temperature") == [(0, 0, 285.45), (3, 0, 269.05), (18, 0, 283.15)]
    assert accepted(reports, RAIN) == [(0, 6, 1.2), (6, 6, 0.0)]
    first = reports.table.iloc[0]
    assert first[["station_id", "latitude", "longitude", "elevation"]].tolist() == [
        "11035099999",
        48.25,
        16.36,
        200.0,
    ]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_mark_of_utf_8_is_no_part_of_the_first_column(tmp_path, mark):
    """Which may be the precipitation, a column that need not be there."""
    path = write_lines(tmp_path / "11035099999.csv", [isd_header(), *ROWS])
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table[sorted(table, key=lambda name: name != "AA1")]
    path.write_bytes(mark + table.to_csv(index=False).encode())
    config = StationSourceConfig(kind="isd", path=str(path))
    reports = read_isd(ReportRequest(config, BOTH, FIRST, LAST, KEY))
    assert accepted(reports, RAIN) == [(0, 6, 1.2), (6, 6, 0.0)]


def test_a_file_without_precipitation_is_counted(tmp_path):
    """Many stations do not measure it, and their files have no column of it."""
    path = write_lines(tmp_path / "11035099999.csv", [isd_header(), *ROWS])
    pd.read_csv(path, dtype=str).drop(columns="AA1").to_csv(path, index=False)
    config = StationSourceConfig(kind="isd", path=str(path))
    reports = read_isd(ReportRequest(config, BOTH, FIRST, LAST, KEY))
    assert len(accepted(reports, "2m_temperature")) == 3
    assert not accepted(reports, RAIN)
    assert reports.repairs["files without precipitation (AA1)"] == 1
    alone = read_isd(ReportRequest(config, ("2m_temperature",), FIRST, LAST, KEY))
    assert "files without precipitation (AA1)" not in alone.repairs


def test_quality_codes_reject_and_all_is_counted(tmp_path):
    reports = read(tmp_path)
    counts = reports.counts()
    assert counts.pop("reports") == 8
    assert counts == {
        "flag: quality 3 erroneous": 1,
        "flag: quality 6 suspect": 1,
        "flag: quality 7 erroneous": 1,
    }
    assert reports.repairs == {
        "summaries of a day or month left out": 1,
        "missing temperatures (+9999) left out": 1,
        "further reports of the same minute dropped": 1,
        "missing precipitation (9999) left out": 1,
        "traces of precipitation set to 0 mm": 1,
    }


def test_an_unknown_elevation_is_missing(tmp_path):
    reports = read(
        tmp_path,
        [isd_row(f"2020-01-0{d}T00:00:00", place=("1.5", "-2.5", "9999.0")) for d in (1, 2)],
    )
    assert np.isnan(reports.table["elevation"]).all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (isd_row("2020-01-01T01:00:00", "+012,1"), r"TMP of 2020-01-01T01:00 is '\+012,1'"),
        (isd_row("2020-01-01T01:00:00", "12.3"), r"TMP.*'12\.3'.*\+0123,1"),
        (isd_row("2020-01-01T01:00:00", "+0123,1", "6,12,9,5"), r"AA1.*'6,12,9,5'"),
        (isd_row("01/01/2020 01:00"), r"DATE '01/01/2020 01:00' is not a time"),
        (isd_row("2020-01-01T01:00:00", place=("95.0", "16", "1")), r"latitude 95 is outside"),
        (isd_row("2020-01-01T01:00:00", place=("", "16", "1")), r"LATITUDE is ''"),
    ],
)
def test_faults_are_refused(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, [*ROWS, row])


def test_a_header_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"lacks .*TMP"):
        read(tmp_path, header=isd_header().replace('"TMP"', '"TEMP"'))


# isd-lite

LITE = [
    "2020 01 01 00   123    50 10132   250    31     8     0 -9999",
    "2020 01 01 06   -41   -60 -9999   250    31 -9999    -1    34",
    "2020 01 01 12 -9999 -9999 -9999 -9999 -9999 -9999    12 -9999",
]
HISTORY = [
    '"USAF","WBAN","STATION NAME","CTRY","STATE","ICAO","LAT","LON","ELEV(M)","BEGIN","END"',
    '"110350","99999","WIEN, AU","OS","","LOWW","+48.250","+016.360","+0200.0","1957","2020"',
    '"110360","99999","SOMEWHERE","OS","","","+95.000","+016.360","-0999.0","1957","2020"',
    '"110370","99999","NO PLACE","OS","","","","","","1957","2020"',
]


def lite(tmp_path, rows=LITE, name="110350-99999-2020", variables=BOTH):
    history = write_lines(tmp_path / "isd-history.csv", HISTORY)
    path = write_lines(tmp_path / name, rows)
    config = StationSourceConfig(kind="isd_lite", path=str(path), station_list=str(history))
    return read_isd_lite(ReportRequest(config, variables, FIRST, LAST, KEY))


def test_lite_numbers_missing_and_trace(tmp_path):
    reports = lite(tmp_path)
    assert accepted(reports, "2m_temperature") == [(0, 0, 285.45), (6, 0, 269.05)]
    assert accepted(reports, RAIN) == [(0, 1, 0.0), (6, 1, 0.0), (6, 6, 3.4), (12, 1, 1.2)]
    assert reports.repairs == {"traces of precipitation set to 0 mm": 1}
    assert reports.table["elevation"].unique().tolist() == [200.0]
    assert reports.table["station_id"].unique().tolist() == ["110350-99999"]
    packed = lite(tmp_path, name="110350-99999-2020.gz")
    assert packed.table.equals(reports.table)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2020 01 01 18   123    50 10132   250    31     8     0", r"line 4 .*12 whole numbers"),
        ("2020 01 01 18  12.3    50 10132   250    31     8     0 0", r"12 whole numbers"),
        (
            "2020 13 01 18   123    50 10132   250    31     8     0 0",
            r"expected year, month, day",
        ),
        ("2020 01 01 00   125    50 10132   250    31     8     0 0", r"more than once"),
    ],
)
def test_faults_of_lite_are_refused(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        lite(tmp_path, [*LITE, row])


def test_stations_of_lite_must_be_in_the_history(tmp_path):
    with pytest.raises(UserError, match=r"station 999990-99999 is not in .*isd-history\.csv"):
        lite(tmp_path, name="999990-99999-2020")
    with pytest.raises(UserError, match=r"110360-99999.*95, 16\.36.*expected -90 to 90"):
        lite(tmp_path, name="110360-99999-2020")
    with pytest.raises(UserError, match=r"110370-99999 is not in"):
        lite(tmp_path, name="110370-99999-2020")
    with pytest.raises(UserError, match=r"found no value"):
        lite(tmp_path, LITE[2:], variables=("2m_temperature",))


def test_elevations_of_the_history_may_be_unknown(tmp_path):
    """The list has -999.0, not a height, where the elevation is unknown."""
    found = read_isd_history(str(write_lines(tmp_path / "isd-history.csv", HISTORY)), KEY)
    assert found["elevation"].isna().to_dict() == {"110350-99999": False, "110360-99999": True}


def test_faults_of_the_history_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"station_list.*found nothing"):
        read_isd_history("", KEY)
    with pytest.raises(UserError, match=r"lacks USAF, WBAN"):
        read_isd_history(str(write_lines(tmp_path / "other.csv", ["a,b", "1,2"])), KEY)
    twice = write_lines(tmp_path / "twice.csv", [*HISTORY, HISTORY[1]])
    with pytest.raises(UserError, match=r"110350-99999 is listed twice"):
        read_isd_history(str(twice), KEY)


# One bad row or file among many.


def hourly(count=48):
    return [isd_row(f"2020-01-0{1 + n // 24}T{n % 24:02d}:30:00", "+0050,1") for n in range(count)]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (isd_row("2020-01-01T01:00:00", place=("", "16", "1")), "position missing"),
        (isd_row("2020-01-01T01:00:00", place=("0", "0", "0")), "position 0, 0"),
        (isd_row("2020-01-01T01:00:00", place=("95", "0", "0")), "position missing or outside"),
        (isd_row("2020-01-01T01:00:00", "12.3"), "TMP that is no code"),
        (isd_row("01/01/2020 01:00"), "time unreadable"),
    ],
)
def test_one_bad_row_is_left_out_and_counted(tmp_path, row, why):
    rows = hourly()
    whole = read(tmp_path, rows).table
    reports = read(tmp_path, [*rows[:5], row, *rows[5:]])
    assert reports.table.equals(whole)
    (one,) = reports.left_out
    assert one.why.startswith(why)
    assert one.number == 1


def test_one_file_of_an_unknown_station_is_left_out(tmp_path):
    """Its reports are a small part of all."""
    rows = [f"2020 01 0{1 + n // 24} {n % 24:02d}   123" + "  0" * 7 for n in range(48)]
    (tmp_path / "files").mkdir()
    write_lines(tmp_path / "files" / "110350-99999-2020", rows)
    write_lines(tmp_path / "files" / "999990-99999-2020", rows[:1])
    history = write_lines(tmp_path / "isd-history.csv", HISTORY)
    config = StationSourceConfig(
        kind="isd_lite", path=str(tmp_path / "files"), station_list=str(history)
    )
    request = ReportRequest(config, ("2m_temperature",), FIRST, LAST, KEY)
    reports = read_isd_lite(request)
    assert len(reports.table) == 48
    assert [(one.why, one.number) for one in reports.left_out] == [("station not in the list", 1)]
