"""GHCNh: both generations of names, codes, traces, running totals, and faults.

The documentation (ghcnh_DOCUMENTATION.pdf at NCEI) could not be read here. Names of columns and
the letter T of a trace are confirmed by several public readers. NOT CONFIRMED: that every letter
is a failed check, codes of measurement other than T, and how report types are spelt.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_modules.sources.stations.readers.ghcnh import read_ghcnh
from data_modules.sources.stations.reports.request import ReportRequest
from slams.config.schema import StationSourceConfig
from slams.errors import UserError
from tests.data_modules.sources.stations.archives import FIRST, KEY, LAST

WARM, RAIN = "2m_temperature", "total_precipitation_24hr"
CODES = ("Measurement_Code", "Quality_Code", "Report_Type", "Source_Code", "Source_Station_ID")


def rows(count: int = 8, station: str = "USW00094728", **changes: object) -> pd.DataFrame:
    """Return hourly reports in the layout of files by year."""
    time = pd.date_range("2020-01-01T00:51", periods=count, freq="h")
    table = pd.DataFrame(
        {
            "STATION": station,
            "Station_name": "NEW YORK",
            "DATE": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "LATITUDE": 40.7789,
            "LONGITUDE": -73.9692,
            "ELEVATION": 42.7,
            "temperature": np.arange(count) / 10.0,
        }
    )
    for name in ("temperature", "precipitation", "precipitation_6_hour"):
        if name not in table:
            table[name] = np.nan
        for code in CODES:
            table[f"{name}_{code}"] = ""
        table[f"{name}_Report_Type"] = "FM-15"
    return table.assign(**changes)


def write(path, table: pd.DataFrame):
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, sep="|", index=False)
    return path


def read(path, variables=(WARM, RAIN), **options):
    config = StationSourceConfig("ghcnh", str(path), **options)
    return read_ghcnh(ReportRequest(config, variables, FIRST, LAST, KEY))


@pytest.fixture
def found(tmp_path):
    def of(table, name="GHCNh_USW00094728_2020.psv", **options):
        return read(write(tmp_path / name, table), **options)

    return of


def test_temperatures_become_kelvin_in_utc(found):
    table = found(rows()).table
    np.testing.assert_allclose(table["value"], 273.15 + np.arange(8) / 10)
    assert table["time"].iloc[0] == np.datetime64("2020-01-01T00:51")
    assert table[["station_id", "latitude", "longitude", "elevation"]].iloc[0].tolist() == [
        "USW00094728",
        40.7789,
        -73.9692,
        42.7,
    ]
    assert set(table["hours"]) == {0.0}


def test_psv_and_parquet_and_both_generations_of_names_are_the_same(found, tmp_path):
    given = rows(precipitation=0.5)
    given.loc[2, "temperature_Quality_Code"] = "3"
    plain = found(given).table
    assert len(plain) == 16
    pd.testing.assert_frame_equal(found(given, "GHCNh_USW00094728_2020.parquet").table, plain)
    time = pd.to_datetime(given["DATE"])
    parts = {p: getattr(time.dt, p.lower()) for p in ("Year", "Month", "Day", "Hour", "Minute")}
    older = given.rename(
        columns={"STATION": "Station_ID", **{n: n.title() for n in ("LATITUDE", "LONGITUDE")}}
    ).rename(columns={"ELEVATION": "Elevation"})
    older = older.drop(columns="DATE").assign(**parts)
    pd.testing.assert_frame_equal(found(older).table, plain)
    pd.testing.assert_frame_equal(found(older, "GHCNh_USW00094728_por.parquet").table, plain)
    # Codes as numbers, beside missing ones, as Parquet may have them.
    numeric = given.assign(
        temperature_Quality_Code=[np.nan, 1.0, 3.0, 5.0, *[np.nan] * 4],
        DATE=pd.to_datetime(given["DATE"]).dt.tz_localize("UTC"),
    )
    again = found(numeric, "GHCNh_USW00094728_2020.parquet").table
    pd.testing.assert_frame_equal(again, plain)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", ""),
        ("0", ""),
        ("1", ""),
        ("4", ""),
        ("5", ""),
        ("9", ""),
        ("2", "flag: quality 2 suspect"),
        ("3", "flag: quality 3 erroneous"),
        ("6", "flag: quality 6 suspect"),
        ("7", "flag: quality 7 erroneous"),
        ("L", "flag: quality L failed a check"),
        ("d", "flag: quality d failed a check"),
    ],
)
def test_quality_codes(found, code, reason):
    given = rows()
    given.loc[3, "temperature_Quality_Code"] = code
    table = found(given).table
    assert table["accepted"].tolist() == [n != 3 or not reason for n in range(8)]
    assert table["reason"][3] == reason


def test_precipitation_its_hours_and_traces(found):
    given = rows(precipitation=[0.0, 1.5, 0.0, 2.0, np.nan, np.nan, np.nan, np.nan])
    given["precipitation_6_hour"] = [np.nan] * 6 + [4.5, np.nan]
    given.loc[2, "precipitation_Measurement_Code"] = "T"
    given.loc[3, "precipitation_Measurement_Code"] = "4"
    reports = found(given, variables=(RAIN,))
    table = reports.table.sort_values(["hours", "time"])
    assert table["value"].tolist() == [0.0, 1.5, 0.0, 2.0, 4.5]
    assert table["hours"].tolist() == [1.0] * 4 + [6.0]
    assert table["accepted"].tolist() == [True, True, True, False, True]
    assert reports.counts()["flag: measurement 4"] == 1
    assert reports.repairs == {"traces of precipitation set to 0 mm": 1}


def test_running_totals_of_special_reports_are_left_out(found):
    """A special report within the hour has the amount since the last routine one."""
    given = rows(4, precipitation=[0.0, 2.0, 5.0, 7.0])
    given["DATE"] = [f"2020-01-01T{t}:00" for t in ("14:51", "15:09", "15:28", "15:51")]
    given["precipitation_Report_Type"] = ["FM-15", "FM-16", "FM16", "FM-15"]
    reports = found(given, variables=(RAIN,))
    assert reports.table["value"].tolist() == [0.0, 7.0]
    assert reports.repairs == {"running totals of special reports (FM-16) left out": 2}


def test_of_one_minute_the_synoptic_report_counts_and_summaries_do_not(found):
    given = pd.concat([rows(3), rows(3, temperature=9.0)])
    given["temperature_Report_Type"] = ["FM-15", "FM-15", "AUTO", "FM-12", "SOD", "FM-15"]
    reports = found(given)
    np.testing.assert_allclose(reports.table["value"] - 273.15, [9.0, 0.1, 9.0])
    assert reports.repairs == {
        "summaries of a day or month left out": 1,
        "further reports of the same minute dropped": 2,
    }


def test_missing_numbers_and_elevations(found):
    given = rows(ELEVATION=-999.9)
    given["temperature"] = [-9999.0, np.nan, *[1.0] * 6]
    reports = found(given)
    assert len(reports.table) == 6
    assert reports.table["elevation"].isna().all()


def test_a_value_that_is_no_number_is_counted(tmp_path):
    given = rows(40).astype({"temperature": object})
    given.loc[2, "temperature"], given.loc[3, "temperature"] = "1,5", ""
    reports = read(write(tmp_path / "GHCNh_USW00094728_2020.psv", given))
    assert len(reports.table) == 38
    assert [(one.why, one.number) for one in reports.left_out] == [("value no number", 1)]
    assert "has temperature '1,5'" in reports.left_out[0].example


def test_one_bad_row_or_station_is_left_out(tmp_path):
    for number in range(30):
        name = f"USW000{number:05d}"
        given = rows(station=name, LATITUDE=40.0 + number / 10)
        if number == 7:
            given["LONGITUDE"] = 73.9692  # the sign is lost
        if number == 8:
            given = given.assign(LATITUDE=0.0, LONGITUDE=0.0)
        if number == 9:
            given.loc[0, "DATE"] = "soon"
        write(tmp_path / f"GHCNh_{name}_2020.psv", given)
    reports = read(tmp_path, left_out=0.1)
    assert reports.table["station_id"].nunique() == 28
    assert {one.why: one.number for one in reports.left_out} == {
        "time unreadable": 1,
        "position 0, 0": 8,
        "position on the wrong hemisphere": 8,
    }
    with pytest.raises(UserError, match=r"17 of 240 reports \(7\.1%\).*at most 5\.0%"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="STATION"), r"lacks the column STATION \(or Station_ID\)"),
        (lambda t: t.drop(columns="DATE"), r"lacks the column DATE \(or Year \.\. Minute\)"),
        (lambda t: t.drop(columns="LATITUDE"), r"lacks the column LATITUDE"),
        (lambda t: t[["STATION", "DATE", "LATITUDE", "LONGITUDE", "ELEVATION"]], "temperature or"),
        (lambda t: t.assign(temperature=280.0), r"median of 2m_temperature is 553"),
        (lambda t: t.assign(DATE="2031-01-01T00:00:00"), r"found no value"),
    ],
)
def test_files_of_something_else_are_refused(found, change, message):
    for name in ("GHCNh_A_2020.psv", "GHCNh_A_2020.parquet"):
        with pytest.raises(UserError, match=message):
            found(change(rows()), name)


def test_elements_narrow_what_is_read(found):
    given = rows(precipitation=0.5, precipitation_6_hour=2.0)
    reports = found(given, elements=["precipitation_6_hour"])
    assert set(reports.table["hours"]) == {6.0}
    with pytest.raises(UserError, match=r"elements: 'dew_point'"):
        found(given, elements=["dew_point"])
