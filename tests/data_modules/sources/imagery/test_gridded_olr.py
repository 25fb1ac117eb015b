"""Images on a regular grid: the layouts of archives, gaps, errors, days, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.preparation.target_grid import regular_grid
from data_modules.sources.imagery import open_imagery
from slams.config.schema import SatelliteConfig, SatelliteSourceConfig
from slams.errors import UserError
from tests.data_modules.image_layouts import (
    CERES_LATITUDE,
    CERES_LONGITUDE,
    NOAA_LATITUDE,
    NOAA_LONGITUDE,
    write_ceres,
    write_hirs,
    write_noaa,
)

FIRST = np.datetime64("2001-03-28")
DAY = 11409
MODEL = regular_grid(12, 24)


def days(count: int = 3, hour: int = 0) -> np.ndarray:
    start = FIRST.astype("datetime64[ns]") + np.timedelta64(hour, "h")
    return start + np.arange(count) * np.timedelta64(1, "D")


def fields(
    latitude: np.ndarray = NOAA_LATITUDE, longitude: np.ndarray = NOAA_LONGITUDE, count: int = 3
) -> np.ndarray:
    """Return fluxes that differ from cell to cell, to the hundredth, one value at each pole."""
    y, x = np.deg2rad(latitude)[:, None], np.deg2rad(longitude)[None]
    one = 200 + 40 * np.cos(y) + 20 * np.cos(y) * np.sin(x)
    return np.round(one + 10 * np.arange(count)[:, None, None], 2)


def opened(path: Path | str, first=FIRST, last=FIRST + 2, kind="gridded_olr", **changes):
    own = {key: changes.pop(key) for key in ("error", "channel") if key in changes}
    source = SatelliteSourceConfig(kind=kind, path=str(path), **changes)
    return open_imagery(SatelliteConfig(source=source, **own), MODEL, first, last)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("hour", [0, 12])
def test_noaa_daily(tmp_path, packed, hour):
    values = fields()
    values[1, 20:30, 40:60] = np.nan
    path = write_noaa(tmp_path / "olr.day.mean.nc", days(hour=hour), values, packed=packed)
    found = opened(path, error=7.0)
    assert found.days.tolist() == [DAY, DAY + 1, DAY + 2]
    np.testing.assert_array_equal(found.grid.latitude, NOAA_LATITUDE)
    np.testing.assert_array_equal(found.grid.longitude, NOAA_LONGITUDE)
    # Rows at the poles have half the height of others.
    np.testing.assert_array_equal(found.grid.bounds[[0, 1, 2, -1]], [90, 88.75, 86.25, -90])
    images = found.read([DAY, DAY + 1])
    np.testing.assert_allclose(images.values, values[:2], atol=1e-4)
    np.testing.assert_array_equal(np.isnan(images.errors), np.isnan(values[:2]))
    np.testing.assert_allclose(images.errors[0, 1:-1], 7.0, rtol=1e-6)
    # One value at a pole, 144 times in the file: as good as one of 7 W m-2.
    np.testing.assert_allclose(images.errors[0, [0, -1]], 7.0 * 12, rtol=1e-6)
    assert found.record.used == 2 * 73 * 144 - 200
    assert not found.several


def test_two_passes_are_averaged_and_one_is_taken_alone(tmp_path):
    times = np.repeat(days(2), 2) + np.tile([np.timedelta64(0, "h"), np.timedelta64(12, "h")], 2)
    values = np.concatenate([fields(count=2), fields(count=2)])
    values[1:3] += 30
    values[3, 30] = np.nan
    found = opened(write_noaa(tmp_path / "olr.2xdaily.nc", times, values), error=8.0)
    images = found.read([DAY, DAY + 1])
    np.testing.assert_allclose(images.values[0], values[:2].mean(axis=0), atol=0.01)
    np.testing.assert_allclose(images.values[1, 30], values[2, 30], atol=0.01)
    assert found.several
    for found_in, both, single in ((images.counts, 2, 1), (images.hours, 6, 0)):
        assert (found_in[0] == both).all()
        assert (found_in[1, 30] == single).all()
    # 8^2 (0.3 + 0.7 / 2), and the one pass with its own.
    np.testing.assert_allclose(images.errors[0, 1:-1], 8 * np.sqrt(0.65), rtol=1e-6)
    np.testing.assert_allclose(images.errors[1, 30], 8.0, rtol=1e-6)
    alone = opened(tmp_path / "olr.2xdaily.nc", error=8.0, correlation=0.0, representativeness=3.0)
    both = alone.read([DAY]).errors[0, 1:-1]
    np.testing.assert_allclose(both, np.sqrt(32 + 9), rtol=1e-6)


def test_ceres_daily(tmp_path):
    latitude, longitude = CERES_LATITUDE[::20] + 9.5, CERES_LONGITUDE[::20] + 9.5
    values = fields(latitude, longitude)
    values[0, 3, 4] = np.nan
    path = write_ceres(tmp_path / "CERES_SYN1deg-Day.nc", days(), values, latitude, longitude)
    found = opened(path)
    np.testing.assert_allclose(found.grid.latitude, latitude[::-1])
    images = found.read([DAY, DAY + 1, DAY + 2])
    # All-sky, not the clear-sky variable beside it.
    np.testing.assert_allclose(images.values, values[:, ::-1], rtol=1e-6)


@pytest.mark.parametrize("latitude", [np.arange(-85.0, 90, 10), np.arange(-90.0, 91, 10)])
def test_the_climate_data_record_of_hirs(tmp_path, latitude):
    longitude = np.arange(5.0, 360, 10)
    values = fields(latitude, longitude)
    found = opened(write_hirs(tmp_path / "olr-daily.nc", days(), values, latitude, longitude))
    np.testing.assert_allclose(found.read([DAY]).values[0], values[0, ::-1], rtol=1e-6)
    assert found.grid.spacing == 10
    assert found.grid.bounds[[0, -1]].tolist() == [90, -90]


def test_a_file_per_year_is_joined_and_other_days_are_not_read(tmp_path):
    values = fields(count=4)
    write_noaa(tmp_path / "olr.2000.nc", days(4)[:2], values[:2])
    write_noaa(tmp_path / "olr.2001.nc", days(4)[2:], values[2:])
    found = opened(tmp_path / "olr.*.nc", FIRST + 1, FIRST + 2)
    assert found.days.tolist() == [DAY + 1, DAY + 2]
    np.testing.assert_allclose(found.read([DAY + 2]).values[0], values[2], atol=1e-4)
    # A day without an image is a gap.
    assert np.isnan(found.read([DAY + 9]).values).all()


def test_errors_of_the_file_take_the_place_of_the_recipe(tmp_path):
    latitude, longitude = np.arange(85.0, -90, -10), np.arange(5.0, 360, 10)
    values = fields(latitude, longitude)
    dims = ("time", "lat", "lon")
    error = np.full(values.shape, 4.0)
    error[0, 2] = np.nan
    dataset = xr.Dataset(
        {"olr": (dims, values, {"units": "W m-2"}), "error": (dims, error)},
        coords={"time": days(), "lat": latitude, "lon": longitude},
    )
    dataset.to_netcdf(tmp_path / "olr.nc")
    errors = opened(tmp_path / "olr.nc", error=9.0).read([DAY, DAY + 1]).errors
    np.testing.assert_allclose(errors[1], 4.0, rtol=1e-6)
    np.testing.assert_allclose(errors[0, 2], 9.0, rtol=1e-6)


def test_values_out_of_range_are_left_out_counted_and_refused_above_a_share(tmp_path):
    values = fields()
    values[0, 5, :10] = 610.0
    found = opened(write_noaa(tmp_path / "olr.nc", days(), values))
    images = found.read([DAY])
    assert np.isnan(images.values[0, 5, :10]).all()
    assert np.isnan(images.values).sum() == 10
    (one,) = found.record.left_out.records
    assert (one.why, one.number) == ("value out of range", 10)
    assert "2001-03-28 has outgoing_longwave_radiation 610 at 77.5, 0" in one.example
    found.record.check()
    strict = opened(tmp_path / "olr.nc", left_out=0.0005)
    strict.read([DAY])
    with pytest.raises(UserError, match=r"10 of 10512 values \(0.1%\) cannot be used, expected"):
        strict.record.check()


def swath(path: Path) -> Path:
    positions = (("scan", "pixel"), np.zeros((3, 4)))
    olr = xr.DataArray(np.full((3, 4), 240.0), dims=("scan", "pixel"), attrs={"units": "W m-2"})
    coords = {"latitude": positions, "longitude": positions}
    olr.assign_coords(coords).to_dataset(name="olr").to_netcdf(path)
    return path


def _changed(change):
    def write(path: Path) -> Path:
        change(small()).to_netcdf(path)
        return path

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (swath, r"'olr' has dimensions scan, pixel.*a swath is of kind pixels"),
        (_changed(lambda d: d.rename(olr="x")), "found imagery of x, expected outgoing"),
        (_changed(lambda d: d.isel(time=0, drop=True)), "found no time, expected dates"),
        (
            _changed(lambda d: d.assign(olr=d["olr"].assign_attrs(units="J m-2"))),
            "has units 'J m-2', expected a flux in W m-2",
        ),
        (
            _changed(lambda d: d.assign(olr=d["olr"].assign_attrs(units="K"))),
            "has units 'K', expected W m-2",
        ),
        (_changed(lambda d: d.isel(time=[0, 0, 1])), "2001-03-28.* occurs more than once"),
        (_changed(lambda d: d.isel(lon=[0, 1, 3, 4, 9])), "longitudes are not equally spaced"),
        (
            _changed(lambda d: d.assign_coords(time=d["time"] + np.timedelta64(900, "D"))),
            "has images from 2003-09-14 to 2003-09-16, expected some from 2001-03-28",
        ),
    ],
)
def test_files_that_cannot_be(tmp_path, write, said):
    path = write(tmp_path / "olr.nc")
    with pytest.raises(UserError, match=said) as refusal:
        opened(path)
    assert "\n" not in str(refusal.value)


def small(count: int = 3) -> xr.Dataset:
    """Return images of 10 degrees, with the names that NOAA uses."""
    latitude, longitude = np.arange(85.0, -90, -10), np.arange(5.0, 360, 10)
    values = (("time", "lat", "lon"), fields(latitude, longitude, count), {"units": "W m-2"})
    return xr.Dataset({"olr": values}, {"time": days(count), "lat": latitude, "lon": longitude})


def written(path: Path, dataset: xr.Dataset) -> Path:
    epoch = {"units": "hours since 1800-01-01", "dtype": "float64"}
    names = [n for n in ("time", "time_bnds") if n in dataset.variables]
    dataset.to_netcdf(path, encoding=dict.fromkeys(names, epoch))
    return path


def test_a_damaged_day_is_left_out_and_does_not_refuse_the_others(tmp_path):
    damaged = small()
    damaged["olr"][1] = 610.0
    found = opened(written(tmp_path / "olr.nc", damaged), left_out=0.4)
    images = found.read([DAY, DAY + 1, DAY + 2])
    assert np.isfinite(images.values).sum(axis=(1, 2)).tolist() == [648, 0, 648]
    found.record.check()
    (one,) = found.record.left_out.records
    assert (one.why, one.number) == ("value out of range", 648)
    strict = opened(tmp_path / "olr.nc")
    strict.read([DAY, DAY + 1, DAY + 2])
    with pytest.raises(UserError, match=r"648 of 1944 values .*2001-03-29 has outgoing.* 610 at"):
        strict.record.check()


def test_errors_are_missing_in_gaps_and_one_that_is_none_is_left_out(tmp_path):
    dataset = small()
    dataset["olr"][1] = np.nan
    dataset["error"] = dataset["olr"] * 0 + 4.0
    dataset["error"][0, 2, 3] = 0.0
    found = opened(written(tmp_path / "olr.nc", dataset))
    images = found.read([DAY, DAY + 1, DAY + 2])
    assert np.isfinite(images.values).sum(axis=(1, 2)).tolist() == [647, 0, 648]
    (one,) = found.record.left_out.records
    assert (one.why, one.number) == ("error out of range", 1)
    assert "2001-03-28 has an error of 0 at 65, 35, expected a positive finite" in one.example


def test_a_mean_that_is_stamped_at_its_end_is_of_the_day_before(tmp_path):
    """The CF conventions' bounds (https://cfconventions.org, 7.1) say what a stamp does not."""
    dataset = small()
    start, end = days(), days() + np.timedelta64(1, "D")
    dataset = dataset.assign_coords(time=("time", end, {"bounds": "time_bnds"}))
    dataset["time_bnds"] = (("time", "nv"), np.stack([start, end], axis=1))
    found = opened(written(tmp_path / "olr.nc", dataset))
    assert found.days.tolist() == [DAY, DAY + 1, DAY + 2]
    images = found.read([DAY])
    np.testing.assert_allclose(images.values[0], small()["olr"][0], rtol=1e-6)
    assert (images.hours == 12).all()
    assert any("3 values belong to the day of the middle of" in x for x in found.record.notes)


def test_a_grid_with_dimensions_of_other_names_is_no_swath(tmp_path):
    found = opened(written(tmp_path / "olr.nc", small().rename_dims(lat="y", lon="x")))
    np.testing.assert_allclose(found.read([DAY]).values[0], small()["olr"][0], rtol=1e-6)
    with pytest.raises(UserError, match="an image on a regular grid is of kind gridded_olr"):
        opened(tmp_path / "olr.nc", kind="pixels")


@pytest.mark.parametrize("off", [0.0, 1e-6])
def test_a_longitude_that_occurs_twice_is_refused(tmp_path, off):
    """Only 0 and 360 are one meridian; of two columns at 85 no one knows which is right."""
    longitude = small()["lon"].values.copy()
    longitude[18] = longitude[0] + off
    with pytest.raises(UserError, match="longitudes occur more than once"):
        opened(written(tmp_path / "olr.nc", small().assign_coords(lon=longitude)))


def test_a_stamp_that_is_rounded_to_before_midnight_is_of_the_day(tmp_path):
    dataset = small()
    dataset = dataset.assign_coords(time=dataset["time"] - np.timedelta64(2, "s"))
    found = opened(written(tmp_path / "olr.nc", dataset))
    assert found.days.tolist() == [DAY, DAY + 1, DAY + 2]


def test_another_sign_is_refused(tmp_path):
    found = opened(
        _changed(lambda d: d.assign(olr=-d["olr"].assign_attrs(d["olr"].attrs)))(
            tmp_path / "olr.nc"
        )
    )
    found.read([DAY])
    with pytest.raises(UserError, match=r"the median of outgoing.* is -.*its sign"):
        found.record.check()


def test_a_missing_file_names_its_key(tmp_path):
    with pytest.raises(UserError, match=r"observations.satellite.source.path: .* does not exist"):
        opened(tmp_path / "nothing.nc")
