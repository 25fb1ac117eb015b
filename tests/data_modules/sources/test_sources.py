"""Sources: canonical form, recorded repairs, refusals, and the real NCEP file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sample import sample_path
from data_modules.sources import open_source
from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.reading import Reading
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.synthetic import nature_run

WANTED = tuple(
    FieldSpec.parse(name)
    for name in ("temperature@500", "temperature@850", "total_precipitation_24hr")
)
NCEP = "real/ncep_r1_air_daily_20220101-05_17lev.nc"
LEVELS = (925, 850, 700, 500, 300, 200, 100, 30)


def canonical(dataset: xr.Dataset, channels=WANTED, absent=()) -> xr.Dataset:
    config = SourceConfig(path="made-up", absent=list(absent))
    return canonicalise(dataset, {}, Reading(config, channels, "data.source"))


@pytest.fixture
def run() -> xr.Dataset:
    return nature_run(days=6, rows=6, columns=12)


@pytest.fixture
def expected(run) -> xr.Dataset:
    return canonical(run)


def same(found: xr.Dataset, expected: xr.Dataset) -> None:
    for name in ("temperature", "total_precipitation_24hr"):
        assert found[name].dims == expected[name].dims
        np.testing.assert_allclose(found[name].values, expected[name].values, rtol=1e-6)
    for name in ("time", "level", "latitude", "longitude"):
        np.testing.assert_allclose(found[name].values, expected[name].values)


def test_canonical_form(run, expected):
    assert expected["temperature"].dims == ("time", "level", "latitude", "longitude")
    assert expected["level"].values.tolist() == [500, 850]
    np.testing.assert_array_equal(expected["temperature"][:, 1], run["temperature"][:, 0])
    assert expected["time"].values.tolist() == [11323.0 + d for d in range(6)]
    assert expected.attrs["repairs"] == []


def test_south_to_north_is_turned(run, expected):
    found = canonical(run.isel(latitude=slice(None, None, -1)))
    same(found, expected)
    assert found.attrs["repairs"] == ["latitude: south to north reversed to north to south"]


def test_dimensions_in_another_order_and_under_other_names(run, expected):
    other = run.transpose("time", "level", "longitude", "latitude")
    found = canonical(other.rename(longitude="lon", latitude="lat", level="plev"))
    same(found, expected)
    assert any("renamed" in r for r in found.attrs["repairs"])
    assert any("transposed" in r for r in found.attrs["repairs"])


def test_longitudes_from_minus_180_are_wrapped_and_sorted(run, expected):
    rolled = run.roll(longitude=6, roll_coords=True)
    west = (rolled["longitude"] + 180) % 360 - 180
    found = canonical(rolled.assign_coords(longitude=west))
    same(found, expected)
    assert "longitude: wrapped into 0..360" in found.attrs["repairs"]


def test_repeated_meridian_is_dropped(run, expected):
    cyclic = xr.concat(
        [run, run.isel(longitude=[0]).assign_coords(longitude=[360.0])],
        dim="longitude",
        data_vars="minimal",
    )
    found = canonical(cyclic)
    same(found, expected)
    assert "longitude: repeated meridian dropped" in found.attrs["repairs"]


def test_unordered_dates_are_sorted(run, expected):
    found = canonical(run.isel(time=[3, 0, 5, 1, 2, 4]))
    same(found, expected)
    assert found.attrs["repairs"] == ["time: unordered dates sorted"]


def test_duplicate_dates_are_refused(run):
    with pytest.raises(UserError, match="2001-01-03T00:00:00 occurs more than once"):
        canonical(run.isel(time=[0, 1, 2, 2, 3]))


@pytest.mark.parametrize(
    ("name", "units", "factor", "offset"),
    [
        ("temperature", "degC", 1.0, -273.15),
        ("total_precipitation_24hr", "m", 1e-3, 0.0),
        ("total_precipitation_24hr", "kg m-2 s-1", 1 / 86400, 0.0),
    ],
)
def test_units_are_converted_and_recorded(run, expected, name, units, factor, offset):
    other = run.assign({name: (run[name].astype(float) * factor + offset)})
    other[name].attrs["units"] = units
    found = canonical(other)
    same(found, expected)
    assert len(found.attrs["repairs"]) == 1
    assert units in found.attrs["repairs"][0]


def test_levels_in_pascal(run, expected):
    found = canonical(run.assign_coords(level=("level", [85000, 50000], {"units": "Pa"})))
    same(found, expected)


def test_refusals(run):
    def refused(dataset: xr.Dataset, match: str) -> None:
        with pytest.raises(UserError, match=match):
            canonical(dataset)

    refused(run.drop_vars("temperature"), r"'temperature'.*missing; found 2m_temperature")
    refused(run.isel(level=[0]), r"level 500 hPa of temperature is missing; found 850 hPa")
    refused(run.isel(level=0), "has no levels")
    bad = run.copy()
    bad["temperature"] = bad["temperature"].assign_attrs(units="furlong")
    refused(bad, r"units 'furlong', expected K")
    bare = run.copy()
    bare["temperature"] = bare["temperature"].drop_attrs()
    refused(bare, "units None")
    refused(run.isel(latitude=slice(0, 3)), "expected a global grid")
    refused(run.isel(latitude=[0, 2, 1, 3, 4, 5]), "latitude is not monotonic")
    refused(run.isel(longitude=slice(0, 8)), "not equally spaced around the globe")
    refused(run.isel(time=slice(0, 0)), "found no dates")
    refused(run.rename(latitude="north"), "dimension 'latitude' is missing")
    refused(run.assign_coords(level=[850, 850]), "a level occurs twice")


def test_absent_channels_are_left_out(run):
    found = canonical(run.drop_vars("total_precipitation_24hr"), absent=[WANTED[2].name])
    assert list(found.data_vars) == ["temperature"]


def test_terrain_comes_along(run):
    rng = np.random.default_rng(0)
    terrain = xr.DataArray(rng.random((6, 12)), dims=("latitude", "longitude"))
    found = canonical(run.assign(surface_elevation=terrain).isel(latitude=slice(None, None, -1)))
    np.testing.assert_array_equal(found["surface_elevation"].values, terrain.values)


def test_missing_path_and_unknown_kind_are_refused(tmp_path):
    for kind in ("nature_run", "noaa_psl"):
        config = SourceConfig(kind=kind, path=str(tmp_path / "none"))
        with pytest.raises(UserError, match=r"data\.source\.path.*does not exist"):
            open_source(config, WANTED)
    with pytest.raises(UserError, match=r"key 'data\.source\.kind': found 'grib'"):
        open_source(SourceConfig(kind="grib"), WANTED)


def test_files_of_another_format_are_refused(tmp_path):
    path = tmp_path / "text.nc"
    path.write_text("not a NetCDF file")
    with pytest.raises(UserError, match="cannot be read as NetCDF"):
        open_source(SourceConfig(kind="noaa_psl", path=str(path)), WANTED)
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(UserError, match="cannot be opened as Zarr"):
        open_source(SourceConfig(path=str(tmp_path / "empty.zarr")), WANTED)


def packed(path: Path, fill: int) -> Path:
    """Write a nature run packed as int16, with Zarr's own fill value."""
    encoding = {
        "temperature": {
            "dtype": "int16",
            "scale_factor": 0.1,
            "add_offset": 250.0,
            "_FillValue": -32768,
            "fill_value": fill,
            "chunks": (2, 2, 6, 12),
        }
    }
    nature_run(days=6, rows=6, columns=12).to_zarr(
        path, encoding=encoding, zarr_format=3, consolidated=False
    )
    return path


def test_packed_values_are_unpacked(tmp_path, run):
    path = packed(tmp_path / "packed.zarr", -32768)
    found = open_source(SourceConfig(path=str(path)), WANTED)
    np.testing.assert_allclose(
        found["temperature"].values[:, 1], run["temperature"].values[:, 0], atol=0.0501
    )


def test_lost_chunk_is_not_read_as_250_kelvin(tmp_path):
    path = packed(tmp_path / "packed.zarr", 0)
    shutil.rmtree(path / "temperature" / "c" / "1")
    with pytest.raises(UserError, match=r"chunk temperature/c/1/0/0/0 is missing"):
        open_source(SourceConfig(path=str(path)), WANTED)


def test_sample_is_the_nature_run(shared_data):
    source = shared_data / "nature_run_1980_1984.zarr"
    full = xr.open_zarr(source, consolidated=False, mask_and_scale=False)
    part = xr.open_zarr(sample_path(), consolidated=False, mask_and_scale=False)
    full = full.sel(time=slice("1981-07-01", "1984-06-30"))
    for name in part.variables:
        np.testing.assert_array_equal(part[name].values, full[name].values)
        if name in part.data_vars:
            assert part[name].attrs == full[name].attrs


def test_sample_is_small_and_complete():
    files = [f for f in sample_path().rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 45e6
    assert len(files) < 100
    channels = tuple(FieldSpec.parse(f"temperature@{level}") for level in LEVELS)
    found = open_source(SourceConfig(), channels)
    assert found.sizes == {"time": 1096, "level": 8, "latitude": 48, "longitude": 96}
    assert found.attrs["license"] == "generated data, free to use"
    day = found["temperature"].isel(time=0).values
    assert np.isfinite(day).all()
    assert 200 < day.mean() < 280


def psl_file(path: Path) -> Path:
    """Write a file like NOAA PSL's: hours since 1800, millibar, float32 with their fill value."""
    run = nature_run(days=4, rows=6, columns=12)
    air = run["temperature"].rename(latitude="lat", longitude="lon")
    air["level"].attrs["units"] = "millibar"
    hours = (air["time"].values - np.datetime64("1800-01-01")) / np.timedelta64(1, "h")
    air = air.assign_coords(time=("time", hours, {"units": "hours since 1800-01-01 00:00:0.0"}))
    air = air.assign_attrs(units="degK")
    air[1, 0, 2, 3] = np.nan
    fill = {"air": {"_FillValue": np.float32(-9.96921e36)}}
    air.to_dataset(name="air").to_netcdf(path, encoding=fill)
    return path


def test_psl_layout(tmp_path):
    path = psl_file(tmp_path / "air.nc")
    found = open_source(SourceConfig(kind="noaa_psl", path=str(path)), WANTED[:2])
    run = nature_run(days=4, rows=6, columns=12)["temperature"].values
    values = found["temperature"].values
    assert found["time"].values.tolist() == [11323.0, 11324.0, 11325.0, 11326.0]
    assert np.isnan(values[1, 1, 2, 3])
    assert np.isnan(values).sum() == 1
    np.testing.assert_array_equal(values[:, 0], run[:, 1])
    split = SourceConfig(kind="noaa_psl", path=str(tmp_path / "a*.nc"))
    np.testing.assert_array_equal(open_source(split, WANTED[:2])["temperature"], values)


def test_real_ncep_file(shared_data):
    channels = tuple(FieldSpec.parse(f"temperature@{level}") for level in LEVELS)
    config = SourceConfig(kind="noaa_psl", path=str(shared_data / NCEP))
    found = open_source(config, channels)
    values = found["temperature"].values
    assert values.shape == (5, 8, 73, 144)
    assert found["time"].values.tolist() == [18993.0 + d for d in range(5)]  # 2022-01-01..05
    assert found["latitude"].values[[0, -1]].tolist() == [90.0, -90.0]
    assert found["longitude"].values[[0, -1]].tolist() == [0.0, 357.5]
    assert np.isfinite(values).all()
    # The pole is one point, whatever the longitude.
    assert np.ptp(values[:, :, 0], axis=-1).max() < 0.5
    missing = (*channels, FieldSpec.parse("outgoing_longwave_radiation"))
    with pytest.raises(UserError, match=r"'olr'.*is missing; found air"):
        open_source(config, missing)
