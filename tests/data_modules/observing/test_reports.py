"""Tables of an instrument's reports: their content, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_modules.observing.reports import read_reports
from slams.errors import UserError

KEY = "observations.instruments.0.file"
TABLE = pd.DataFrame(
    {
        "time": ["2001-03-28T06:00", "2001-03-28T21:30", "2001-03-30T00:00Z"],
        "latitude": [10.0, -45.5, 10.0000001],
        "longitude": [20.0, 300.0, 20.0],
        "value": [250.0, 240.5, 251.0],
        "error": [0.5, np.nan, 2.0],
    }
)


def write(path: Path, table: pd.DataFrame) -> Path:
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_reports_of_days(tmp_path: Path, suffix: str) -> None:
    reports = read_reports(write(tmp_path / f"reports{suffix}", TABLE), KEY, error=1.5)
    assert reports.latitude.tolist() == [-45.5, 10.0]
    day = (pd.Timestamp("2001-03-28") - pd.Timestamp("1970-01-01")).days
    assert reports.days.tolist() == [day, day + 2]
    # The hour of the requested time does not matter; days without reports have none.
    values, errors = reports.of_days(np.array([[day + 0.5, day + 1], [day + 2, day - 400]]))
    missing = [np.nan, np.nan]
    expected = [[[240.5, 250.0], missing], [[np.nan, 251.0], missing]]
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(errors[0, 0], [1.5, 0.5])
    assert errors[1, 0, 1] == 2.0


def test_a_row_without_a_value_is_a_missing_report(tmp_path: Path) -> None:
    table = TABLE.assign(value=[np.nan, 240.5, 251.0])
    reports = read_reports(write(tmp_path / "reports.csv", table), KEY, error=1.0)
    assert np.isfinite(reports.values).sum() == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"latitude": [91.0, 0, 0]}, "row 0 has latitude 91.0, expected within"),
        ({"longitude": [0, 361.0, 0]}, "row 1 has longitude 361.0, expected within"),
        ({"value": [1, np.inf, 2]}, "row 1 has value inf, expected a finite number"),
        ({"error": [1, 0.0, 2]}, "row 1 has error 0.0, expected a positive finite number"),
        ({"value": ["warm", "1", "2"]}, "expected times and numbers, found other text"),
        ({"time": ["yesterday", "2001-01-01", "2001-01-01"]}, "expected times and numbers"),
        ({"value": [1.0, 1e300, 2.0]}, "row 1 has value 1e\\+300, expected a finite number"),
        ({"time": [5113, 5114, 5115]}, "found the number 5113 in column 'time', expected dates"),
        ({"time": ["2001-03-28"] * 3, "longitude": [350, 1, -10]}, "two reports at 10, 350 on"),
        ({"value": [np.nan] * 3}, "found no report with a value"),
        ({"time": ["2001-03-28"] * 3}, "two reports at 10, 20 on 2001-03-28, expected one"),
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, change: dict, said: str) -> None:
    path = write(tmp_path / "reports.csv", TABLE.assign(**change))
    with pytest.raises(UserError, match=said) as refusal:
        read_reports(path, KEY, error=1.0)
    assert str(refusal.value).startswith(f"key {KEY!r}: {path}")


def test_files_that_are_no_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_reports(tmp_path / "none.csv", KEY, 1.0)
    with pytest.raises(UserError, match=r"expected a \.csv or \.parquet file"):
        read_reports(tmp_path / "reports.nc", KEY, 1.0)
    with pytest.raises(UserError, match=r"column 'value' is missing.*found time, latitude"):
        read_reports(write(tmp_path / "r.csv", TABLE.drop(columns="value")), KEY, 1.0)
    (tmp_path / "r.parquet").write_text("no table")
    with pytest.raises(UserError, match="cannot be read as a table"):
        read_reports(tmp_path / "r.parquet", KEY, 1.0)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UserError, match="cannot be read as a table"):
        read_reports(tmp_path / "empty.csv", KEY, 1.0)
