"""Pixels of level 2: superobservations of cells, their errors, counts, times; what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from data_modules.preparation.target_grid import regular_grid
from data_modules.sources.imagery import open_imagery
from slams.config.schema import SatelliteConfig, SatelliteSourceConfig
from slams.errors import UserError

FIRST = np.datetime64("2001-03-28")
DAY = 11409
MODEL = regular_grid(12, 24)


def table(**columns: object) -> pd.DataFrame:
    default = {"time": "2001-03-28T06:00", "latitude": 10.0, "longitude": 20.0, "value": 240.0}
    length = max([len(v) for v in columns.values() if isinstance(v, list)], default=1)
    return pd.DataFrame(default | columns, index=np.arange(length))


def opened(path: Path | str, satellite: dict | None = None, **changes):
    source = SatelliteSourceConfig(**({"kind": "pixels", "path": str(path)} | changes))
    section = SatelliteConfig(**({"footprint": 2} | (satellite or {})), source=source)
    return open_imagery(section, MODEL, FIRST, FIRST + 1)


def csv(directory: Path, pixels: pd.DataFrame) -> Path:
    pixels.to_csv(directory / "pixels.csv", index=False)
    return directory / "pixels.csv"


def swath(path: Path, time_dims=("scan",), **changes) -> Path:
    """Write `olr(scan, pixel)` with two-dimensional positions (CF conventions, section 5.2)."""
    scans, pixels = 5, 7
    latitude = np.linspace(-20, 20, scans)[:, None] + np.zeros(pixels)
    longitude = np.linspace(-10, 10, pixels)[None] + np.zeros((scans, 1))
    value = 200 + np.arange(scans * pixels, dtype=np.float64).reshape(scans, pixels)
    times = FIRST.astype("datetime64[ns]") + np.arange(scans) * np.timedelta64(1, "h")
    times = times if time_dims == ("scan",) else np.repeat(times[:, None], pixels, axis=1)
    dims = ("scan", "pixel")
    dataset = xr.Dataset(
        {"olr": (dims, value, {"units": "W m-2", "coordinates": "latitude longitude"})},
        coords={"time": (time_dims, times)},
    ).assign(latitude=(dims, latitude), longitude=(dims, longitude), **changes)
    dataset.to_netcdf(path)
    return path


def test_the_mean_error_count_and_time_of_a_cell(tmp_path):
    pixels = table(
        time=["2001-03-28T01:00", "2001-03-28T05:00", "2001-03-28T12:00", "2001-03-29T00:00"],
        value=[230.0, 240.0, 259.0, 300.0],
        error=[3.0, None, 6.0, 3.0],
    )
    found = opened(csv(tmp_path, pixels), {"error": 9.0}, correlation=0.2, representativeness=2.0)
    assert found.days.tolist() == [DAY, DAY + 1]
    images = found.read([DAY, DAY + 1])
    assert images.values.shape == (2, 6, 12)
    # Footprints of 30 degrees: 30 to 0 north, and -7.5 to 22.5 east is the first column.
    (there,) = np.argwhere(np.isfinite(images.values[0])).tolist()
    assert there == [2, 0]
    assert images.values[0, 2, 0] == pytest.approx(243.0)
    assert images.counts[0, 2, 0] == 3
    assert images.hours[0, 2, 0] == pytest.approx(6.0)
    # ((1 - rho) sum s^2 + rho (sum s)^2) / n^2 + r^2, with the recipe's 9 where none is stated.
    expected = (0.8 * (9 + 81 + 36) + 0.2 * 18**2) / 9 + 4
    assert images.errors[0, 2, 0] ** 2 == pytest.approx(expected)
    assert images.values[1, 2, 0] == 300
    assert images.errors[1, 2, 0] ** 2 == pytest.approx(9 + 4)


def test_equal_errors_without_correlation_fall_with_the_root_of_the_number(tmp_path):
    pixels = table(value=[240.0] * 16)
    found = opened(csv(tmp_path, pixels), {"error": 8.0}, correlation=0.0)
    assert np.nanmax(found.read([DAY]).errors) == pytest.approx(2.0)
    # The floor: however many, not below the root of the correlation.
    common = opened(tmp_path / "pixels.csv", {"error": 8.0}, correlation=1.0)
    assert np.nanmax(common.read([DAY]).errors) == pytest.approx(8.0)


@pytest.mark.parametrize("time_dims", [("scan",), ("scan", "pixel")])
def test_a_swath_is_averaged_as_a_table_of_its_pixels(tmp_path, time_dims):
    path = swath(tmp_path / "swath.nc", time_dims)
    with xr.open_dataset(path) as dataset:
        frame = dataset.reset_coords().to_dataframe().reset_index()
    frame = frame.rename(columns={"olr": "value"})[["time", "latitude", "longitude", "value"]]
    one = opened(path, cell=5.0).read([DAY])
    other = opened(csv(tmp_path, frame), cell=5.0).read([DAY])
    np.testing.assert_allclose(one.values, other.values, rtol=1e-6)
    np.testing.assert_allclose(one.hours, other.hours, rtol=1e-6)
    np.testing.assert_array_equal(one.counts, other.counts)
    assert np.nansum(one.counts) == 35
    assert one.values.shape == (1, 36, 72)


def test_pixels_are_in_the_cells_that_contain_them(tmp_path):
    places = [(89.0, 1.0), (-90.0, 359.9), (0.5, -179.5), (-0.5, 180.5), (44.9, 345.1)]
    pixels = table(
        latitude=[p[0] for p in places],
        longitude=[p[1] for p in places],
        value=[200.0, 210.0, 220.0, 230.0, 240.0],
    )
    images = opened(csv(tmp_path, pixels), cell=10.0).read([DAY])
    found = {tuple(at): images.values[0][tuple(at)] for at in np.argwhere(images.counts[0] > 0)}
    expected = {(0, 0): 200.0, (17, 35): 210.0, (8, 18): 220.0, (9, 18): 230.0, (4, 34): 240.0}
    assert found == expected


def test_what_cannot_be_used_is_counted_and_refused_above_a_share(tmp_path):
    pixels = table(
        time=["2001-03-28", "soon", *["2001-03-28"] * 98],
        latitude=[10.0, 10.0, 95.0, *[10.0] * 97],
        value=[240.0, 240.0, 240.0, 900.0, None, -9999.0, *[240.0] * 94],
        error=[*[1.0] * 6, -2.0, *[1.0] * 93],
    )
    found = opened(csv(tmp_path, pixels))
    counts = {one.why: one.number for one in found.record.left_out.records}
    assert counts == {
        "no time": 1,
        "latitude out of range": 1,
        "value out of range": 1,
        "error out of range": 1,
    }
    assert found.record.used == 94
    assert np.nansum(found.read([DAY]).counts) == 94
    with pytest.raises(UserError, match=r"4 of 98 pixels \(4.1%\) cannot be used, expected at"):
        opened(tmp_path / "pixels.csv", left_out=0.02)


def test_a_text_that_is_no_number_is_counted(tmp_path):
    """It is neither a missing value nor, as an error, one that the recipe states."""
    pixels = table(value=[240.0] * 50, error=[2.0] * 50).astype(object)
    pixels.loc[3, "value"], pixels.loc[4, "value"], pixels.loc[5, "error"] = "é", "", "1e999"
    found = opened(csv(tmp_path, pixels))
    counts = {one.why: one.number for one in found.record.left_out.records}
    assert counts == {"value no number": 1, "error no number": 1}
    assert found.record.used == 47
    assert "pixel 3 has value 'é'" in {one.example for one in found.record.left_out.records}


def test_a_damaged_file_is_left_out_and_does_not_refuse_the_others(tmp_path):
    table(value=[900.0] * 2).to_parquet(tmp_path / "a.parquet")
    table(value=[240.0] * 98).to_parquet(tmp_path / "b.parquet")
    found = opened(tmp_path / "*.parquet")
    assert found.record.used == 98
    (one,) = found.record.left_out.records
    assert (one.why, one.number) == ("value out of range", 2)


def test_several_files_of_several_kinds_are_taken_together(tmp_path):
    swath(tmp_path / "a.nc")
    table(value=250.0).to_parquet(tmp_path / "b.parquet")
    csv(tmp_path, table(time="2001-04-28"))
    found = opened(tmp_path / "*", cell=5.0)
    assert found.record.used == 36
    assert "pixels of other days: 1" in found.record.notes


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            lambda d: csv(d, table(time="2001-05-01")),
            r"has no pixel from 2001-03-28.*1 are of other",
        ),
        (lambda d: csv(d, table().drop(columns="value")), "column 'value' is missing"),
        (lambda d: csv(d, table(value=-240.0)), "the median of outgoing.* is -240"),
        (
            lambda d: swath(d / "a.nc", olr=(("scan", "pixel"), np.ones((5, 7)), {"units": "K"})),
            "has units 'K'",
        ),
        (
            lambda d: _without(swath(d / "a.nc"), "time"),
            "'olr' has no time, expected one for each",
        ),
        (lambda d: _gridded(d / "a.nc"), "an image on a regular grid is of kind gridded_olr"),
    ],
)
def test_pixels_that_cannot_be(tmp_path, write, said):
    with pytest.raises(UserError, match=said) as refusal:
        opened(write(tmp_path))
    assert "\n" not in str(refusal.value)


def _without(path: Path, name: str) -> Path:
    with xr.open_dataset(path) as dataset:
        dataset = dataset.drop_vars(name).load()
    dataset.to_netcdf(path)
    return path


def _gridded(path: Path) -> Path:
    coords = {"lat": [10.0, 0.0], "lon": [0.0, 10.0]}
    xr.Dataset({"olr": (("lat", "lon"), np.ones((2, 2)))}, coords=coords).to_netcdf(path)
    return path
