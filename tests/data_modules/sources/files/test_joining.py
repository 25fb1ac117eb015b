"""Files to be joined: noise of coordinates, a day that two files have, spellings of units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

T2M = (FieldSpec.parse("2m_temperature"),)
LATITUDE, LONGITUDE = np.linspace(75.3, -75.3, 6), 30.0 * np.arange(12) + 0.1
VALUES = np.random.default_rng(1).uniform(250, 300, (6, 6, 12))


def write(path: Path, days: slice, **changes: object) -> str:
    """Write days of one series, with coordinates, units or an encoding of the caller."""
    time = np.datetime64("2001-01-01", "ns") + np.arange(6) * np.timedelta64(1, "D")
    units = changes.pop("units", "K")
    values = changes.pop("values", VALUES)
    encoding = changes.pop("encoding", {})
    coords = {"lat": LATITUDE, "lon": LONGITUDE, **changes}
    dataset = xr.Dataset(
        {"2m_temperature": (("time", "lat", "lon"), values[days], {"units": units})},
        coords={"time": time[days], **coords},
    )
    dataset.to_netcdf(path, encoding={"2m_temperature": encoding})
    return str(path)


def opened(files: list[str]) -> xr.Dataset:
    return open_source(SourceConfig(kind="cf", files=files), T2M)


FIRST, SECOND = slice(0, 3), slice(3, 6)


@pytest.mark.parametrize(
    "changes",
    [
        {"lat": LATITUDE.astype("f4")},
        {"lon": (LONGITUDE + 1e-6).astype("f4")},
        {"lat": LATITUDE - 1e-6, "lon": LONGITUDE + 5e-5},
    ],
)
def test_noise_of_coordinates_is_the_same_grid(tmp_path, changes):
    files = [write(tmp_path / "a.nc", FIRST), write(tmp_path / "b.nc", SECOND, **changes)]
    found = opened(files)
    np.testing.assert_allclose(found["2m_temperature"].values, VALUES, rtol=1e-7)
    np.testing.assert_array_equal(found["longitude"].values, LONGITUDE)
    for name in changes:
        assert any(
            one == f"{name}: values of files that differ by less than 0.0001 taken as equal"
            for one in found.attrs["repairs"]
        )


def test_equal_coordinates_are_not_spoken_of(tmp_path):
    found = opened([write(tmp_path / "a.nc", FIRST), write(tmp_path / "b.nc", SECOND)])
    assert not any("taken as equal" in one for one in found.attrs["repairs"])


def test_another_grid_is_refused(tmp_path):
    files = [
        write(tmp_path / "a.nc", FIRST),
        write(tmp_path / "b.nc", SECOND, lon=LONGITUDE + 2e-3),
    ]
    with pytest.raises(UserError, match=r"b\.nc has another lon than .*a\.nc"):
        opened(files)


def test_the_same_day_in_two_files_is_taken_once(tmp_path):
    files = [write(tmp_path / "a.nc", slice(0, 4)), write(tmp_path / "b.nc", slice(3, 6))]
    found = opened(files)
    np.testing.assert_array_equal(found["2m_temperature"].values, VALUES)
    assert found.sizes["time"] == 6
    assert (
        "time: 1 step that two files have with the same values taken once"
        in (found.attrs["repairs"])
    )


def test_a_file_twice_is_taken_once(tmp_path):
    files = [write(tmp_path / "a.nc", FIRST), write(tmp_path / "copy.nc", FIRST)]
    assert opened(files).sizes["time"] == 3


def test_the_same_day_with_other_values_is_refused(tmp_path):
    other = VALUES.copy()
    other[3, 2, 2] += 0.01
    files = [
        write(tmp_path / "a.nc", slice(0, 4)),
        write(tmp_path / "b.nc", slice(3, 6), values=other),
    ]
    with pytest.raises(
        UserError,
        match=r"a\.nc and .*b\.nc both have 2001-01-04T00:00:00, with different values of 2m_temp",
    ):
        opened(files)
    other[3] = np.nan
    files[1] = write(tmp_path / "c.nc", slice(3, 6), values=other)
    with pytest.raises(UserError, match=r"both have 2001-01-04"):
        opened(files)


def test_a_day_that_each_file_packed_with_its_own_scale_is_the_same(tmp_path):
    packed = {"dtype": "i2", "_FillValue": -32767}
    files = [
        write(
            tmp_path / "a.nc",
            slice(0, 4),
            encoding={**packed, "scale_factor": 0.001, "add_offset": 275.0},
        ),
        write(
            tmp_path / "b.nc",
            slice(3, 6),
            encoding={**packed, "scale_factor": 0.0013, "add_offset": 270.0},
        ),
    ]
    np.testing.assert_allclose(opened(files)["2m_temperature"].values, VALUES, atol=7e-4)


def test_units_are_compared_by_what_they_mean(tmp_path):
    files = [write(tmp_path / "a.nc", FIRST), write(tmp_path / "b.nc", SECOND, units="Kelvin")]
    np.testing.assert_allclose(opened(files)["2m_temperature"].values, VALUES, rtol=1e-7)
    files[1] = write(tmp_path / "c.nc", SECOND, units="degC")
    with pytest.raises(UserError, match=r"c\.nc has 2m_temperature in 'degC', .*a\.nc in 'K'"):
        opened(files)


def test_each_file_has_an_epoch_of_its_own(tmp_path):
    """Also where xarray does not decode the dates: numbers of two files must not be mixed."""
    files = []
    for number, (epoch, name) in enumerate((("2001-01-01", "a.nc"), ("2001-01-04", "b.nc"))):
        days = slice(3 * number, 3 * number + 3)
        dataset = xr.Dataset(
            {"2m_temperature": (("time", "lat", "lon"), VALUES[days], {"units": "K"})},
            coords={
                "time": ("time", [0, 1, 2], {"units": f"days Since {epoch}"}),
                "lat": LATITUDE,
                "lon": LONGITUDE,
            },
        )
        dataset.to_netcdf(tmp_path / name)
        files.append(str(tmp_path / name))
    found = opened(files)
    assert found["time"].values.tolist() == [11323.0 + day for day in range(6)]
    np.testing.assert_array_equal(found["2m_temperature"].values, VALUES)
