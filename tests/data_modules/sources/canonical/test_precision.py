"""Times in single precision: the hour that they mean, or one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources.canonical.daily import decode_days
from data_modules.sources.canonical.reading import Reading
from slams.config.schema import SourceConfig
from slams.errors import UserError

FIRST = np.datetime64("2001-03-28", "ns")
DAY = 11409.0


def decoded(path: Path, units: str, hours: list[float], kind: str = "f4"):
    """Write times, and read them as `decode_days` does."""
    time = FIRST + (np.array(hours) * 3600e9).astype("timedelta64[ns]")
    encoding = {"time": {"units": units, "dtype": kind}}
    xr.Dataset({"x": ("time", np.arange(len(hours)))}, {"time": time}).to_netcdf(
        path, encoding=encoding
    )
    reading = Reading(SourceConfig(path="made-up"), (), "data.source")
    with xr.open_dataset(path) as dataset:
        return decode_days(dataset, reading)[0], reading.repairs


@pytest.mark.parametrize(
    "units", ["seconds since 1800-01-01", "minutes since 1800-1-1", "days since 1800-01-01"]
)
def test_times_in_single_precision_are_at_the_full_hour(tmp_path: Path, units: str) -> None:
    hours = [0.0, 25.0, 31.0, 49.0]
    found, repairs = decoded(tmp_path / "a.nc", units, hours)
    assert found == pytest.approx(DAY + np.array(hours) / 24, abs=1e-9)
    assert repairs == ["time: stored in single precision, taken at the full hour"]
    exact, none = decoded(tmp_path / "b.nc", units, hours, "f8")
    assert found == pytest.approx(exact, abs=1e-9)
    assert not none


def test_what_single_precision_holds_exactly_is_left_alone(tmp_path: Path) -> None:
    """Whole days since any date, quarters of a day too; seven digits hold them."""
    found, repairs = decoded(tmp_path / "a.nc", "days since 0001-01-01", [0.0, 24.0, 30.0])
    assert found.tolist() == [DAY, DAY + 1, DAY + 1.25]
    assert not repairs


def test_times_between_hours_stay_where_they_are(tmp_path: Path) -> None:
    found, _ = decoded(tmp_path / "a.nc", "hours since 2000-01-01", [0.5, 24.25])
    assert found == pytest.approx([DAY + 0.5 / 24, DAY + 1 + 0.25 / 24], abs=1e-6)


def test_times_that_are_known_within_hours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"single precision as 'seconds since 0001-01-01', known within 0.6 h"
    ):
        decoded(tmp_path / "a.nc", "seconds since 0001-01-01", [0.0, 25.0])
