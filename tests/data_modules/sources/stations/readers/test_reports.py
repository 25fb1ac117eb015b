"""A user's own reports: the example of the documentation, faults, and the way to the store."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_modules.sources.stations.readers.reports import frame_source, read_reports
from data_modules.sources.stations.reports.request import ReportRequest
from data_modules.sources.stations.reports.user_table import read_table
from slams.config.schema import StationSourceConfig
from slams.errors import UserError
from tests.data_modules.sources.stations.archives import FIRST, KEY, LAST

WARM, RAIN = "2m_temperature", "total_precipitation_24hr"
VARIABLES = (WARM, RAIN, "temperature")
DOCUMENT = Path(__file__).parents[5] / "docs" / "observations.md"


def own(count: int = 40, **columns: object) -> pd.DataFrame:
    """Return reports of one station, one per hour."""
    default = {
        "time": pd.date_range("2020-01-01", periods=count, freq="h").strftime("%Y-%m-%dT%H:%MZ"),
        "latitude": 48.25,
        "longitude": 16.36,
        "elevation": 200.0,
        "station_id": "WIEN",
        "variable": "t2m",
        "value": 280.0 + np.arange(count) / 10,
        "error": 0.5,
    }
    return pd.DataFrame(default | columns)


def read(path, variables=VARIABLES, **options):
    config = StationSourceConfig("reports", str(path), **options)
    return read_reports(ReportRequest(config, variables, FIRST, LAST, KEY))


def csv(tmp_path, table):
    table.to_csv(tmp_path / "own.csv", index=False)
    return tmp_path / "own.csv"


def test_the_example_of_the_documentation(tmp_path):
    """The table that the page shows is read as the page says."""
    text = DOCUMENT.read_text()
    (example,) = re.findall(r"```csv\n(time,.*?)```", text, re.DOTALL)
    (tmp_path / "own.csv").write_text(example)
    table = read(tmp_path / "own.csv").table.drop(columns=["accepted", "reason"])
    rows = {
        (r["variable"], r["level"] if r["level"] > 0 else 0): r for r in table.to_dict("records")
    }
    assert len(rows) == len(table) == 4
    assert rows[WARM, 0]["value"] == pytest.approx(274.55)
    assert rows[WARM, 0]["error"] == 0.3
    assert rows["temperature", 850.0]["value"] == pytest.approx(270.15)
    assert rows["temperature", 700.0]["value"] == pytest.approx(262.15)
    assert rows["temperature", 850.0]["error"] == 0.8
    assert rows[RAIN, 0]["value"] == pytest.approx(4.2)
    assert rows[RAIN, 0]["hours"] == 6.0
    assert np.isnan(rows[RAIN, 0]["error"])
    assert set(table["elevation"]) == {200.0}


def test_files_and_directories_and_data_frames_are_the_same(tmp_path):
    table = own()
    plain = read(csv(tmp_path, table)).table
    assert len(plain) == 40
    assert set(plain["error"]) == {0.5}
    folder = tmp_path / "folder"
    folder.mkdir()
    table[:7].to_csv(folder / "a.csv", index=False)
    table[7:].assign(time=pd.to_datetime(table["time"][7:])).to_parquet(folder / "b.parquet")
    pd.testing.assert_frame_equal(read(folder).table, plain)
    spec = frame_source("mine", table)
    found = spec.read(StationSourceConfig("mine", "memory"), VARIABLES, FIRST, LAST, KEY)
    pd.testing.assert_frame_equal(found.table, plain)


def test_it_is_the_canonicaliser_of_the_python_interface(tmp_path):
    table = own(variable=["t2m", "2m_temperature"] * 20, units="degC", value=7.0)
    mine = read(csv(tmp_path, table)).table
    pd.testing.assert_frame_equal(mine, read_table(table, "given").table)
    assert mine["value"].iloc[0] == pytest.approx(280.15)


def test_other_variables_and_days_are_not_faults(tmp_path):
    table = pd.concat([own(), own(time="2020-02-01"), own(variable="sp", value=1e5)])
    table = table.drop_duplicates(["time", "variable"])
    reports = read(csv(tmp_path, table), (WARM,))
    assert len(reports.table) == 40
    assert reports.left_out == ()


@pytest.mark.parametrize(
    ("column", "value", "why", "number"),
    [
        ("time", "yesterday", "time unreadable", 1),
        ("latitude", 95.0, "latitude out of range", 1),
        ("latitude", np.nan, "latitude out of range", 1),
        ("longitude", "east", "longitude that is no number", 1),
        ("value", "warm", "value that is no number", 1),
        ("variable", "t2n", "unknown variable", 1),
        ("variable", "t", "level missing or not expected", 1),
        ("error", -1.0, "error out of range", 1),
        ("units", "F", "units unknown", 1),
        ("time", "2020-01-01T00:00Z", "several values at once", 2),
    ],
)
def test_one_bad_row_is_left_out_and_counted(tmp_path, column, value, why, number):
    table = own().astype({column: object}) if column in own() else own()
    if column not in table:
        table[column] = ""
    table.loc[7, column] = value
    reports = read(csv(tmp_path, table))
    assert len(reports.table) == 40 - number
    assert [(one.why, one.number) for one in reports.left_out] == [(why, number)]
    with pytest.raises(UserError, match=rf"at most 2\.0%.*left_out.*{why} {number} "):
        read(csv(tmp_path, table), left_out=0.02)
    # A share of zero refuses the first bad row, as the Python interface does.
    with pytest.raises(UserError, match=r"station archive .*own\.csv: "):
        read(csv(tmp_path, table), left_out=0.0)


def test_a_position_of_zero_is_left_out_and_a_missing_code_is_missing(tmp_path):
    table = pd.concat([own(), own(1, latitude=0.0, longitude=0.0, station_id="NOWHERE")])
    reports = read(csv(tmp_path, table))
    assert [(one.why, one.number) for one in reports.left_out] == [("position 0, 0", 1)]
    table = own()
    table.loc[[3, 5], "value"] = -9999.0
    reports = read(csv(tmp_path, table))
    assert len(reports.table) == 38
    assert reports.repairs == {"missing values left out": 2}
    assert reports.left_out == ()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (own().drop(columns="variable"), r"column 'variable' is missing"),
        (own().rename(columns={"latitude": "lat"}), r"rename 'lat' to 'latitude'"),
        (own(value=15.0), r"median of 2m_temperature is 15, .*column units, such as degC"),
        (own(time="2031-01-01T00:00Z")[:1], r"found no value"),
        (own(variable="gust"), r"40 of 40 reports \(100\.0%\).*unknown variable 'gust'"),
    ],
)
def test_tables_of_something_else_are_refused(tmp_path, table, message):
    with pytest.raises(UserError, match=message):
        read(csv(tmp_path, table))
