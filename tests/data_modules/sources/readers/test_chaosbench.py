"""ChaosBench: one store per day, each with its own packing; a missing day is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.data_modules.public_layouts import SLAMS_LEVELS, chaosbench

SPECS = tuple(FieldSpec.parse(f"temperature@{level}") for level in SLAMS_LEVELS[::-1])


@pytest.fixture
def folder(tmp_path) -> tuple[Path, xr.Dataset]:
    return tmp_path, chaosbench(tmp_path)


def opened(path: Path, period: tuple[float, float] | None = None) -> xr.Dataset:
    return open_source(SourceConfig(kind="chaosbench", path=str(path)), SPECS, period)


def test_days_are_unpacked_and_joined(folder):
    path, truth = folder
    (path / "climatology_era5.zarr").mkdir()  # another store in the directory is ignored
    found = opened(path)
    assert found["level"].values.tolist() == list(SLAMS_LEVELS[::-1])
    np.testing.assert_allclose(found["temperature"].values, truth["t"].values[:, ::-1], atol=2e-3)
    # 2016-02-27 to 2016-03-02, with a leap day.
    assert found["time"].values.tolist() == [16858.0 + d for d in range(5)]
    assert found.attrs["time"] == "temperature: instant at 00 UTC"


def test_steps_are_read_by_themselves(folder):
    path, _ = folder
    whole = opened(path)["temperature"].values
    found = opened(path)["temperature"].isel(time=slice(2, 4)).values
    np.testing.assert_array_equal(found, whole[2:4])
    shutil.rmtree(path / "era5_full_1.5deg_20160302.zarr" / "t")
    np.testing.assert_array_equal(opened(path)["temperature"].isel(time=[0]).values, whole[:1])


def test_missing_day_is_refused_by_name(folder):
    path, _ = folder
    shutil.rmtree(path / "era5_full_1.5deg_20160229.zarr")
    with pytest.raises(UserError, match=r"era5_full_1\.5deg_20160229\.zarr is missing \(1 of 5"):
        opened(path)
    assert opened(path, (16858.0, 16859.0)).sizes["time"] == 2
    with pytest.raises(UserError, match=r"20160226\.zarr is missing \(1 of 2 days"):
        opened(path, (16857.0, 16858.0))


def test_store_under_a_wrong_date_is_refused(folder):
    path, _ = folder
    store = path / "era5_full_1.5deg_20160228.zarr"
    shutil.rmtree(store)
    shutil.copytree(path / "era5_full_1.5deg_20160301.zarr", store)
    with pytest.raises(UserError, match=r"20160228\.zarr: its time is 2016-03-01T00"):
        opened(path)["temperature"].values  # noqa: B018


@pytest.mark.parametrize(
    ("array", "change", "match"),
    [
        ("latitude", lambda a: a.__setitem__(0, 89.0), "other dimensions, coordinates or units"),
        ("t", lambda a: a.attrs.update(units="degC"), "other dimensions, coordinates or units"),
    ],
)
def test_store_unlike_the_first_is_refused(folder, array, change, match):
    path, _ = folder
    store = path / "era5_full_1.5deg_20160301.zarr"
    change(zarr.open_group(str(store), mode="r+", use_consolidated=False)[array])
    zarr.consolidate_metadata(str(store), zarr_format=2)
    with pytest.raises(UserError, match=rf"20160301\.zarr: t has {match}"):
        opened(path)["temperature"].values  # noqa: B018


def test_empty_and_missing_directories_are_refused(tmp_path):
    with pytest.raises(UserError, match="found no daily store"):
        opened(tmp_path)
    with pytest.raises(UserError, match=r"data\.source\.path: .*none does not exist"):
        opened(tmp_path / "none")


def test_two_stores_of_one_day_are_refused(folder):
    path, _ = folder
    shutil.copytree(path / "era5_full_1.5deg_20160301.zarr", path / "copy_20160301.zarr")
    with pytest.raises(UserError, match=r"2016-03-01 has two stores, copy_20160301\.zarr and"):
        opened(path)


def test_time_may_be_a_dimension_of_one(folder, tmp_path_factory):
    path, _ = folder
    whole = opened(path)["temperature"].values
    other = tmp_path_factory.mktemp("dated")
    for store in sorted(path.glob("*.zarr")):
        dated = xr.open_zarr(store).load().expand_dims("time")
        dated.to_zarr(other / store.name, zarr_format=2, consolidated=True)
    np.testing.assert_array_equal(opened(other)["temperature"].values, whole)


def test_winds_and_humidity_have_short_names(folder):
    path, truth = folder
    names = {"u_component_of_wind": "u", "v_component_of_wind": "v", "specific_humidity": "q"}
    specs = tuple(FieldSpec.parse(f"{name}@500") for name in names)
    found = open_source(SourceConfig(kind="chaosbench", path=str(path)), specs)
    for ours, theirs in names.items():
        np.testing.assert_array_equal(found[ours].values, truth[theirs].sel(level=[500]).values)
