"""Units of time as files have them: read with the right dates, or refused and quoted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

T2M = (FieldSpec.parse("2m_temperature"),)
DAY = 11016.0  # 2000-02-29, days since 1970-01-01


def opened(path: Path, values, units: str, calendar: str = "", dtype: str = "f8") -> list[float]:
    attrs = {"units": units} | ({"calendar": calendar} if calendar else {})
    time = np.asarray(values, dtype)
    shape = (len(time), 6, 12)
    dataset = xr.Dataset(
        {"2m_temperature": (("time", "lat", "lon"), np.full(shape, 280.0), {"units": "K"})},
        coords={
            "time": ("time", time, attrs),
            "lat": np.linspace(75, -75, 6),
            "lon": 30.0 * np.arange(12),
        },
    )
    file = path / f"{len(list(path.iterdir()))}.nc"
    dataset.to_netcdf(file)
    found = open_source(SourceConfig(kind="cf", path=str(file)), T2M)
    return found["time"].values.tolist()


@pytest.mark.parametrize(
    ("values", "units", "calendar", "dtype"),
    [
        ([20000229.0, 20000301.0], "day as %Y%m%d.%f", "", "f8"),
        ([20000229.5, 20000301.5], "day as %Y%m%d.%f", "proleptic_gregorian", "f8"),
        ([20000229, 20000301], "days as %Y%m%d", "", "i4"),
        ([13, 37], "hours since 2000-02-28 12:00:00 +01:00", "", "f8"),
        ([37, 61], "hours since 2000-02-28T00:00:00+13:00", "", "i4"),
        ([730544, 730545], "days since 0000-01-01", "proleptic_gregorian", "f8"),
        ([951782400, 951868800], "seconds since 1970-01-01", "", "i4"),
        ([2**31 - 1, 2**31 + 86399], "seconds since 1932-02-10 20:45:53", "", "u4"),
        ([24, 48], "HOURS Since 2000-02-28 00:00:00", "", "f8"),
        ([36584.0, 36585.0], "days since 1899-12-31", "", "f4"),
    ],
)
def test_units_with_a_meaning_are_read(tmp_path, values, units, calendar, dtype):
    assert opened(tmp_path, values, units, calendar, dtype) == [DAY, DAY + 1][: len(values)]


@pytest.mark.parametrize("calendar", ["", "proleptic_gregorian"])
def test_whole_months_are_first_days(tmp_path, calendar):
    assert opened(tmp_path, [2], "months since 2000-01-01", calendar) == [DAY + 1]  # 1 March
    assert opened(tmp_path, [602], "months since 1950-1-1 00:00:00", calendar) == [DAY + 1]
    with pytest.raises(UserError, match="step every 31 days"):
        opened(tmp_path, [0, 1, 2], "months since 2000-07-01", calendar)


@pytest.mark.parametrize(
    ("values", "units", "calendar", "dtype"),
    [
        ([0.5], "months since 2000-01-01", "", "f8"),
        ([1], "months since 2000-01-15", "", "f8"),
        ([1], "years since 2000-01-01", "", "f8"),
        ([730544, 730545], "days since 0000-01-01", "standard", "f8"),  # it has no year 0
        ([20000230.0], "day as %Y%m%d.%f", "", "f8"),
        ([20000229.0, 20000301.0], "day as %Y%m%d.%f", "", "f4"),  # holds seven digits
        ([1, 2], "days", "", "f8"),
        ([1, 2], "fortnights since 2000-01-01", "", "f8"),
        ([1, 2], "days since yesterday", "", "f8"),
        ([1, 2], "days since 2000-13-01", "", "f8"),
    ],
)
def test_units_without_a_meaning_are_quoted(tmp_path, values, units, calendar, dtype):
    quoted = re.escape(units)
    with pytest.raises(
        UserError, match=f"could not be decoded into dates; its units are '{quoted}'"
    ):
        opened(tmp_path, values, units, calendar, dtype)


def test_a_missing_date_is_said(tmp_path):
    with pytest.raises(UserError, match=r"a value is missing|has a missing value"):
        opened(tmp_path, [0.0, np.nan], "days since 2000-01-01")
