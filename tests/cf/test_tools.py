"""Programs of others read what is written: the compliance checker, and CDO."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from slams.cf import analysis_dataset, write_dataset
from tests.cf.compliance import complaints
from tests.cf.examples import GRID, counts, ensemble


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    one = ensemble()
    methods = {"temperature": "mean", "2m_temperature": "point"}
    return analysis_dataset(one, counts=counts(one), day_methods=methods)


@pytest.fixture(scope="module")
def files(dataset: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cf")
    write_dataset(dataset, folder / "whole.nc")
    write_dataset(dataset, folder / "packed.nc", packed=True)
    write_dataset(dataset, folder / "split.nc", split_members=True)
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.filterwarnings("ignore:The ioos_sos checker is deprecated")
@pytest.mark.parametrize("name", ["whole", "packed", "split", "split_member_01"])
def test_the_compliance_checker_finds_nothing(files: dict[str, Path], name: str) -> None:
    assert not complaints(files[name])


@pytest.mark.filterwarnings("ignore:The ioos_sos checker is deprecated")
def test_a_file_that_is_read_and_written_again_is_as_good(
    files: dict[str, Path], tmp_path: Path
) -> None:
    """xarray takes bounds for variables unless it is told otherwise."""
    with xr.open_dataset(files["whole"]) as opened:
        assert "lat_bnds" in opened.data_vars
        write_dataset(opened, tmp_path / "again.nc")
    with netCDF4.Dataset(tmp_path / "again.nc") as file:
        assert "coordinates" not in file["lat_bnds"].ncattrs()
    assert not complaints(tmp_path / "again.nc")


def cdo(*words: str | Path) -> str:
    program = shutil.which("cdo")
    if program is None:
        pytest.skip("CDO is not installed: apt-get install cdo")
    command = [program, "-s", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["whole", "packed", "split"])
def test_cdo_takes_means_of_mean_and_spread(
    files: dict[str, Path], dataset: xr.Dataset, name: str, tmp_path: Path
) -> None:
    wanted = ["temperature_mean", "temperature_spread", "t2m_mean", "tp_spread"]
    listed = cdo("infon", files[name])
    assert all(f": {variable}" in listed for variable in wanted)
    assert "2021-12-30 00:00:00" in listed
    chain = ("-fldmean", "-selyear,2022", f"-selname,{','.join(wanted)}")
    cdo("copy", *chain, files[name], tmp_path / "mean.nc")
    with xr.open_dataset(tmp_path / "mean.nc") as means:
        assert means["time"].dt.strftime("%Y-%m-%d").values.tolist() == ["2022-01-07"]
        for variable in wanted:
            weights = xr.DataArray(GRID.weights.numpy(), dims="latitude")
            expected = dataset[variable].sel(time=["2022-01-07"]).weighted(weights)
            np.testing.assert_allclose(
                means[variable].squeeze(),
                expected.mean(["latitude", "longitude"]).squeeze(),
                rtol=2e-3,  # CDO draws the edges of cells as great circles
            )


def test_cdo_reads_a_member(files: dict[str, Path]) -> None:
    listed = cdo("infon", files["split_member_02"])
    assert all(f": {name}" in listed for name in ("temperature", "t2m", "tp"))


def test_cdo_knows_the_axes(files: dict[str, Path]) -> None:
    grid = cdo("griddes", files["split"])
    assert "gridtype  = lonlat" in grid
    assert "ybounds" in grid
    levels = cdo("zaxisdes", "-selname,temperature_mean", files["split"])
    assert "zaxistype = pressure" in levels
    assert "levels    = 850 500" in levels
