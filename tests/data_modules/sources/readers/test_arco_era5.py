"""ARCO-ERA5: an axis longer than the data, hourly fluxes and sums, one step per chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.data_modules.public_layouts import arco_era5

SPECS = tuple(
    FieldSpec.parse(name)
    for name in (
        "temperature@500",
        "temperature@10",
        "total_precipitation_24hr",
        "outgoing_longwave_radiation",
    )
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> tuple[Path, xr.Dataset]:
    path = tmp_path_factory.mktemp("arco") / "full_37-1h-0p25deg-chunk-1.zarr-v3"
    return path, arco_era5(path)


def opened(path: Path, daily: str = "instant") -> xr.Dataset:
    return open_source(SourceConfig(kind="arco_era5", path=str(path), daily=daily), SPECS)


def test_axis_is_cut_to_where_there_are_data(store):
    found = opened(store[0])
    # The total of the last day ends at the following midnight, which is beyond the data.
    assert found["time"].values.tolist() == [18262.0, 18263.0]  # 2020-01-01
    assert np.isfinite(found["temperature"].values).all()
    assert any("48 of 120 steps outside" in r for r in found.attrs["repairs"])


def test_values_of_a_day(store):
    path, truth = store
    found = opened(path)
    np.testing.assert_array_equal(
        found["temperature"].values,
        truth["temperature"].sel(level=[500, 10]).isel(time=[0, 24]).values,
    )
    hours = [slice(1, 25), slice(25, 49)]
    for name, file, factor, how in (
        ("total_precipitation_24hr", "total_precipitation", 1000.0, np.sum),
        ("outgoing_longwave_radiation", "mean_top_net_long_wave_radiation_flux", -1.0, np.mean),
    ):
        values = truth[file].values.astype(np.float64)
        expected = np.stack([factor * how(values[h], axis=0) for h in hours])
        np.testing.assert_allclose(found[name].values, expected, rtol=1e-6)
    assert float(found["outgoing_longwave_radiation"].min()) > 150
    assert "mean of 24 values over 1 h" in found.attrs["time"]


def test_radiation_as_an_hourly_sum_is_the_same(store, tmp_path):
    dataset = xr.open_zarr(store[0]).load().drop_encoding()
    dataset.drop_vars("mean_top_net_long_wave_radiation_flux").to_zarr(
        tmp_path / "joules.zarr", zarr_format=2
    )
    both = [opened(path) for path in (store[0], tmp_path / "joules.zarr")]
    radiation = [one["outgoing_longwave_radiation"].values for one in both]
    np.testing.assert_allclose(radiation[1], radiation[0], rtol=1e-6)


def test_daily_means_of_hourly_instants(store):
    path, truth = store
    found = opened(path, "mean")["temperature"].values[:, 1]
    values = truth["temperature"].sel(level=10).values.astype(np.float64)
    np.testing.assert_allclose(found, values[:48].reshape(2, 24, 7, 12).mean(axis=1), rtol=1e-7)


@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        ({"valid_time_stop": None}, "attribute valid_time_stop is missing"),
        ({"valid_time_start": "soon"}, "valid_time_start is 'soon', expected a date"),
        ({"valid_time_stop": "2019-12-01"}, "no step is between"),
    ],
)
def test_store_that_does_not_say_where_its_data_end_is_refused(store, tmp_path, attributes, match):
    dataset = xr.open_zarr(store[0]).load().drop_encoding()
    merged = {**dataset.attrs, **attributes}
    dataset.attrs = {k: v for k, v in merged.items() if v is not None}
    dataset.to_zarr(tmp_path / "changed.zarr", zarr_format=2)
    with pytest.raises(UserError, match=match):
        opened(tmp_path / "changed.zarr")


def test_missing_hour_is_refused(store, tmp_path):
    dataset = xr.open_zarr(store[0]).load().drop_encoding()
    dataset.isel(time=np.r_[0:60, 61:120]).to_zarr(tmp_path / "hole.zarr", zarr_format=2)
    with pytest.raises(UserError, match=r"2020-01-02 has 23 of its 24 steps"):
        opened(tmp_path / "hole.zarr")


def test_winds_and_humidity_are_instants_by_level(store):
    path, truth = store
    names = ("u_component_of_wind", "v_component_of_wind", "specific_humidity")
    specs = tuple(FieldSpec.parse(f"{name}@850") for name in names)
    found = open_source(SourceConfig(kind="arco_era5", path=str(path)), specs)
    for name in names:
        expected = truth[name].sel(level=[850]).isel(time=slice(None, None, 24)).values
        np.testing.assert_array_equal(found[name].values, expected)
