"""Files hold what was written, all of it or nothing."""

from __future__ import annotations

import resource
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr

from slams.cf import analysis_dataset, state_dataset, write_dataset
from slams.errors import UserError
from tests.cf.examples import counts, ensemble, state


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    one = ensemble()
    return analysis_dataset(one, counts=counts(one), day_methods={"2m_temperature": "mean"})


def read(path: Path) -> xr.Dataset:
    engine = "zarr" if path.suffix == ".zarr" else "netcdf4"
    with xr.open_dataset(path, engine=engine, decode_coords="all") as found:
        return found.load()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_is_read_is_what_was_written(dataset, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"analysis{suffix}"
    assert write_dataset(dataset, path) == [path]
    found = read(path)
    xr.testing.assert_identical(found, dataset)
    assert found.sel(time="2022-01-07")["t2m_mean"].dims == ("latitude", "longitude")
    # Once more, from a file whose variables have an encoding of its own.
    again = tmp_path / f"again{suffix}"
    write_dataset(found, again)
    xr.testing.assert_identical(read(again), dataset)
    assert {file.name for file in tmp_path.iterdir()} == {path.name, again.name}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_dataset_that_is_read_in_pieces_is_written_too(dataset, tmp_path, suffix: str) -> None:
    lazy = dataset.chunk(time=2, realization=1, latitude=3)
    write_dataset(lazy, tmp_path / f"lazy{suffix}", packed=True, split_members=True)
    write_dataset(lazy, tmp_path / f"analysis{suffix}")
    xr.testing.assert_identical(read(tmp_path / f"analysis{suffix}"), dataset)
    assert lazy["temperature"].chunks[0] == (2,)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_state_is_written_too(tmp_path: Path, suffix: str) -> None:
    one = state_dataset(state(ensemble()))
    write_dataset(one, tmp_path / f"truth{suffix}")
    xr.testing.assert_identical(read(tmp_path / f"truth{suffix}"), one)


def test_a_file_is_netcdf_4_compressed_with_checksums_by_time(dataset, tmp_path: Path) -> None:
    write_dataset(dataset, tmp_path / "analysis.nc")
    with netCDF4.Dataset(tmp_path / "analysis.nc") as file:
        assert file.data_model == "NETCDF4"
        assert file.dimensions["time"].isunlimited()
        temperature = file["temperature"]
        assert temperature.filters()["zlib"]
        assert temperature.filters()["fletcher32"]
        assert temperature.chunking() == [1, 3, 2, 8, 16]
        for name in ("time", "latitude", "longitude", "level", "time_bnds", "lat_bnds"):
            assert "_FillValue" not in file[name].ncattrs()
        assert file["time"].bounds == "time_bnds"
        assert file["temperature_mean"].coordinates == "realization_count"
        assert "coordinates" not in temperature.ncattrs()
        assert "coordinates" not in file.ncattrs()


def test_every_array_of_a_store_has_checksums(dataset, tmp_path: Path) -> None:
    write_dataset(dataset, tmp_path / "analysis.zarr")
    arrays = dict(zarr.open_group(tmp_path / "analysis.zarr", mode="r").arrays())
    assert {"time", "level", "temperature", "lat_bnds"} <= set(arrays)
    assert all(array.compressors[0].checksum for array in arrays.values() if array.ndim)
    assert arrays["temperature"].chunks == (1, 3, 2, 8, 16)


def test_the_same_analysis_gives_the_same_bytes(dataset, tmp_path: Path) -> None:
    one, two = tmp_path / "one.nc", tmp_path / "two.nc"
    write_dataset(dataset, one)
    write_dataset(dataset, two)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_packed_values_are_as_near_as_the_file_says(dataset, tmp_path, suffix: str) -> None:
    path = tmp_path / f"packed{suffix}"
    write_dataset(dataset, path, packed=True)
    found = read(path)
    for name, variable in dataset.data_vars.items():
        if variable.dtype == np.int32:
            np.testing.assert_array_equal(found[name], variable)
            continue
        assert found[name].dtype == ("f4" if suffix == ".nc" else "f8")
        assert found[name].encoding["dtype"] == np.int16
        error = float(np.abs(found[name] - variable.astype("f8")).max())
        stated = found[name].attrs["packing_error"]
        assert error <= stated * (1 + 1e-9)
        assert error > 0.9 * stated
        assert 0 < stated < 0.51 * float(variable.max() - variable.min()) / 65530 + 2e-5
        np.testing.assert_array_equal(found[name].isnull(), variable.isnull())
    assert float(found["tp"].min()) == 0.0  # dry days stay dry
    assert "packing_error" not in dataset["tp"].attrs
    # Unpacked again, values are stored as they are.
    write_dataset(found, tmp_path / f"unpacked{suffix}")
    again = read(tmp_path / f"unpacked{suffix}")
    assert again["tp"].encoding["dtype"] == found["tp"].dtype
    np.testing.assert_array_equal(again["tp"], found["tp"])


@pytest.mark.parametrize("values", [[1e5, 1e5 + 0.01], [np.nan, np.nan], [0.0, 0.0], [-3.0, -3.0]])
def test_packing_of_fields_that_hardly_vary(tmp_path: Path, values: list[float]) -> None:
    array = xr.DataArray(np.array([values], "f4"), dims=("latitude", "longitude"))
    write_dataset(xr.Dataset({"sp": array}), tmp_path / "packed.nc", packed=True)
    found = read(tmp_path / "packed.nc")["sp"]
    np.testing.assert_allclose(found, array, rtol=1e-7)
    assert found.attrs["packing_error"] <= 0.01


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("packed", [False, True])
def test_members_in_files_of_their_own(dataset, tmp_path: Path, suffix: str, packed: bool) -> None:
    path = tmp_path / f"a{suffix}"
    files = write_dataset(dataset, path, packed=packed, split_members=True)
    names = [f"a{suffix}", *(f"a_member_{n:02d}{suffix}" for n in (1, 2, 3))]
    assert [file.name for file in files] == names
    whole = read(path)
    derived = {name for name in dataset.data_vars if "realization" not in dataset[name].dims}
    assert set(whole.data_vars) == derived
    assert "realization" not in whole.variables
    for number, file in enumerate(files[1:], start=1):
        member = read(file)
        assert int(member["realization"]) == number
        assert {"t2m", "temperature"} <= set(member.data_vars)
        assert not derived & set(member.variables)
        assert all(array.ndim <= 4 for array in member.variables.values())
        limit = member["t2m"].attrs.get("packing_error", 0.0) * (1 + 1e-9)
        difference = np.abs(member["t2m"] - dataset["t2m"].sel(realization=number))
        assert float(difference.max()) <= limit
        np.testing.assert_array_equal(member["time_bnds"], dataset["time_bnds"])


def test_members_of_a_larger_ensemble_do_not_stay(dataset, tmp_path: Path) -> None:
    mine = tmp_path / "a_member_03_notes.nc"
    mine.write_text("")
    write_dataset(dataset, tmp_path / "a.nc", split_members=True)
    write_dataset(analysis_dataset(ensemble(2)), tmp_path / "a.nc", split_members=True)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"a.nc", "a_member_01.nc", "a_member_02.nc", mine.name}


def test_states_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no members to split"):
        write_dataset(state_dataset(state(ensemble())), tmp_path / "a.nc", split_members=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none/a.nc", "the folder .*none does not exist"),
        ("none/a.zarr", "the folder .*none does not exist"),
        ("a.grib", "found the suffix '.grib', expected .nc or .zarr"),
        ("a", "found the suffix '', expected .nc or .zarr"),
        ("folder.nc", "a directory is in its place"),
        ("folder.zarr", "not a Zarr store of format 3"),
        ("file.zarr", "not a Zarr store of format 3"),
    ],
)
def test_places_that_cannot_be_written(dataset, tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr/notes.txt").write_text("mine")
    (tmp_path / "file.zarr").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=sentence):
        write_dataset(dataset, tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_refused_write_leaves_the_file_before(
    dataset, tmp_path: Path, suffix: str, split: bool
) -> None:
    path = tmp_path / f"a{suffix}"
    write_dataset(dataset.isel(time=[0]), path, split_members=split)
    before = {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")}
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(UserError, match=rf"output {path.parent}.* cannot be written: .*room"):
            write_dataset(dataset, path, split_members=split)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    after = {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")}
    assert after == before
