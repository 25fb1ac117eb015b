"""Times and numbers of any type."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_modules.sources.stations.reports.columns import numbers, utc_times

WHEN = pd.Timestamp("2020-01-01T06:53:20")


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([WHEN]),
        pd.Series([WHEN.tz_localize("UTC")]),
        pd.Series([WHEN.tz_localize("UTC").tz_convert("America/New_York")]),
        pd.Series([WHEN]).astype("datetime64[s]"),
        pd.Series([WHEN.value // 10**9]),
        pd.Series([WHEN.value // 10**9]).astype("Int64"),
        pd.Series([float(WHEN.value // 10**9)]),
        pd.Series([WHEN.value // 10**6]),
        pd.Series([WHEN.value // 10**3]),
        pd.Series([WHEN.value]),
        pd.Series(["2020-01-01T06:53:20"]),
        pd.Series(["2020-01-01 06:53:20Z"]),
        pd.Series(["2020-01-01T08:53:20+02:00"]),
        pd.Series([WHEN.to_pydatetime()], dtype=object),
    ],
    ids=lambda column: f"{column.dtype} {column[0]}",
)
def test_every_kind_of_time_becomes_utc(column: pd.Series) -> None:
    found = utc_times(column)
    assert found.dtype == "datetime64[ns]"
    assert found.tolist() == [WHEN]


@pytest.mark.parametrize("year", [1975, 1980, 2001, 2100])
def test_numbers_of_every_size_are_told_apart(year: int) -> None:
    when = pd.Timestamp(f"{year}-06-01T06:53:20")
    for factor in (1, 10**3, 10**6, 10**9):
        assert utc_times(pd.Series([when.value // factor])).tolist() == [when]


def test_what_is_no_time_is_missing() -> None:
    for column in (["soon", None, ""], [np.nan, 0.0, 20200101.0], [-9999, 5, 20200101]):
        assert utc_times(pd.Series(column)).isna().all()
    assert utc_times(pd.Series([1577861600, np.nan])).isna().tolist() == [False, True]


def test_codes_of_missing_numbers_are_missing() -> None:
    codes = [-9999, -9999.9, -99999, -8888, 9.96921e36, np.nan, np.inf]
    for dtype in (np.float64, np.float32):
        assert numbers(pd.Series(codes, dtype=dtype)).isna().all()
    assert numbers(pd.Series([" -9999 ", "", None, "warm"])).isna().all()
    good = [-998.0, 99999.0, 0.0, 1e5, -89.2]
    assert numbers(pd.Series(good)).tolist() == good
    assert numbers(pd.Series([270, -9999])).tolist()[0] == 270.0
    assert numbers(pd.Series([" 1.5"])).tolist() == [1.5]
