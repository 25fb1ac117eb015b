"""WeatherBench2: one canonical form for every layout of the store; faults are refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from data_modules.store.training_store import TrainingStore
from slams.config.schema import SourceConfig, SplitsConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.stages.sources import prepare
from tests.data_modules.public_layouts import weatherbench2
from tests.synthetic import tiny_recipe

CHANNELS = [
    "temperature@850",
    "temperature@50",
    "2m_temperature",
    "total_precipitation_24hr",
]
SPECS = tuple(FieldSpec.parse(name) for name in CHANNELS)


def source(path: Path, **keys: object) -> SourceConfig:
    return replace(SourceConfig(kind="weatherbench2", path=str(path)), **keys)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> tuple[Path, xr.Dataset]:
    path = tmp_path_factory.mktemp("wb2") / "era5.zarr"
    return path, weatherbench2(path)


def test_instants_at_midnight_are_the_days(store):
    path, truth = store
    found = open_source(source(path), SPECS)
    midnights = truth["temperature"].sel(level=[850, 50]).isel(time=slice(0, -4, 4))
    np.testing.assert_array_equal(found["temperature"].values, midnights.values)
    assert found["time"].values.tolist() == [-4018.0 + d for d in range(11)]  # 1959-01-01
    assert found["latitude"].values[[0, -1]].tolist() == [90.0, -90.0]
    assert "temperature: instant at 00 UTC" in found.attrs["time"]


def test_surface_pressure_is_read_in_pascals(store):
    path, truth = store
    found = open_source(source(path), (FieldSpec.parse("surface_pressure"),))["surface_pressure"]
    np.testing.assert_array_equal(found.values, truth["surface_pressure"].values[::4])
    assert 8e4 < float(found.mean()) < 1.1e5


def test_daily_means_are_of_the_four_steps_of_the_utc_day(store):
    path, truth = store
    found = open_source(source(path, daily="mean"), SPECS)
    values = truth["2m_temperature"].values[:44].reshape(11, 4, 7, 12)
    expected = values.mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(found["2m_temperature"].values, expected, rtol=1e-7)
    assert "2m_temperature: mean of 4 instants per day" in found.attrs["time"]


def test_precipitation_is_the_total_of_the_utc_day_in_millimetres(store):
    path, truth = store
    found = open_source(source(path), SPECS)["total_precipitation_24hr"].values
    # A value at 06 UTC is what fell since 00 UTC: those of a day are at 06, 12, 18 and 24.
    steps = truth["total_precipitation_6hr"].values[1:45].reshape(11, 4, 7, 12)
    np.testing.assert_allclose(found, 1000 * steps.sum(axis=1, dtype=np.float64), rtol=1e-5)
    assert found.max() > 1.0


def test_six_hourly_precipitation_is_added_up(store, tmp_path):
    path, _ = store
    dataset = xr.open_zarr(path).drop_vars("total_precipitation_24hr").load()
    dataset.drop_encoding().to_zarr(tmp_path / "six.zarr", zarr_format=2)
    both = [open_source(source(p), SPECS) for p in (path, tmp_path / "six.zarr")]
    rain = [one["total_precipitation_24hr"].values for one in both]
    np.testing.assert_allclose(rain[1], rain[0], rtol=1e-5)
    assert "sum of 4 values over 6 h" in both[1].attrs["time"]


def test_units_that_derived_variables_lack_are_those_documented(store):
    repairs = open_source(source(store[0]), SPECS).attrs["repairs"]
    assert (
        "total_precipitation_24hr: no units stated, m according to the layout's documentation"
        in repairs
    )
    assert "total_precipitation_24hr: m converted to mm day-1" in repairs


def test_elevation_comes_from_the_geopotential_at_the_surface(store):
    path, truth = store
    found = open_source(source(path), SPECS)["surface_elevation"].values
    np.testing.assert_allclose(found, truth["geopotential_at_surface"].values / 9.80665, rtol=1e-6)


def recipe_of(directory: Path, path: Path):
    recipe = tiny_recipe(directory, path, channels=CHANNELS, harmonics=0, lags=[1])
    recipe.data.source = source(path, grid="5x10")
    recipe.data.splits.train = ["1959-01-01", "1959-01-10"]
    recipe.data.splits.validation = recipe.data.splits.test = []
    return recipe


def test_every_layout_gives_the_same_training_store(tmp_path):
    """Order of dimensions x direction of latitude x range of longitude x format of Zarr."""
    prints, contents, averaged = set(), set(), set()
    orders = (("longitude", "latitude"), ("latitude", "longitude"))
    for number, (order, southward, west, zarr_format) in enumerate(
        product(orders, (False, True), (False, True), (2, 3))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        weatherbench2(
            folder / "era5.zarr",
            order=order,
            southward=southward,
            west=west,
            zarr_format=zarr_format,
            consolidated=zarr_format == 2,
        )
        recipe = recipe_of(folder, folder / "era5.zarr")
        found = TrainingStore.open(prepare(recipe))
        prints.add(found.fingerprint)
        contents.add(found.read(slice(None)).tobytes())
        assert np.isfinite(found.read(slice(None))).all()
        means = open_source(source(folder / "era5.zarr", daily="mean"), SPECS)
        averaged.add(b"".join(means[name].values.tobytes() for name in sorted(means.data_vars)))
    assert number == 15
    assert len(contents) == len(prints) == len(averaged) == 1


def changed(store, tmp_path: Path, change) -> Path:
    dataset = change(xr.open_zarr(store[0]).load().drop_encoding())
    dataset.to_zarr(tmp_path / "changed.zarr", zarr_format=2)
    return tmp_path / "changed.zarr"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d.isel(time=np.r_[0:9, 10:48]), r"1959-01-03 has 3 of its 4 steps"),
        (lambda d: d.isel(time=np.r_[0:9, 9, 9:48]), r"occurs more than once"),
        (
            lambda d: d.expand_dims(prediction_timedelta=2),
            r"found forecasts \(dimension prediction_timedelta\)",
        ),
        (lambda d: d.sel(level=[850, 500]), r"level 50 hPa of temperature is missing"),
        (lambda d: d.rename(temperature="t"), r"variable 'temperature' .* is missing"),
        (
            lambda d: d.assign(temperature=d["temperature"].assign_attrs(units="K day-1")),
            r"units 'K day-1', expected K",
        ),
        (
            lambda d: d.isel(time=np.arange(1, 48, 4)),
            r"stamp 06 UTC at their end, which is not a UTC day",
        ),
    ],
)
def test_faults_are_refused(store, tmp_path, change, match):
    path = changed(store, tmp_path, change)
    with pytest.raises(UserError, match=match):
        open_source(source(path, daily="mean"), SPECS)


def test_hourly_accumulation_at_six_hourly_steps_is_refused(store, tmp_path):
    def change(dataset: xr.Dataset) -> xr.Dataset:
        names = {"total_precipitation_6hr": "total_precipitation"}
        return dataset.drop_vars("total_precipitation_24hr").rename(names)

    with pytest.raises(UserError, match=r"covers 1 h at steps of 6 h; the rest of the day"):
        open_source(source(changed(store, tmp_path, change)), SPECS)


def test_ten_hectopascal_is_in_none_of_these_stores(store):
    channels = (FieldSpec.parse("temperature@10"),)
    with pytest.raises(UserError, match=r"level 10 hPa .* found 50, 100, 150"):
        open_source(source(store[0]), channels)


def test_a_period_is_all_that_is_read(store):
    found = open_source(source(store[0]), SPECS, period=(-4016.0, -4014.0))
    assert found["time"].values.tolist() == [-4016.0, -4015.0, -4014.0]
    with pytest.raises(
        UserError,
        match=r"data\.period: .* from 1970-01-01 to 1970-01-11; .*1959-01-01 to 1959-01-11",
    ):
        open_source(source(store[0]), SPECS, period=(0.0, 10.0))


@pytest.mark.parametrize(
    ("variable", "levels"),
    [
        ("u_component_of_wind", (850, 50)),
        ("v_component_of_wind", (500,)),
        ("specific_humidity", (925, 700)),
    ],
)
def test_winds_and_humidity_are_read_by_level(store, variable, levels):
    path, truth = store
    specs = tuple(FieldSpec.parse(f"{variable}@{level}") for level in levels)
    found = open_source(source(path), specs)
    expected = truth[variable].sel(level=list(levels)).isel(time=slice(None, None, 4)).values
    np.testing.assert_array_equal(found[variable].values, expected)
    assert expected.std() > 0


def test_variables_may_have_other_levels_than_one_another(store, tmp_path):
    path, truth = store
    names = ["temperature@850", "temperature@50", "specific_humidity@700"]
    names += ["u_component_of_wind@50"]
    recipe = tiny_recipe(
        tmp_path,
        path,
        channels=names,
        splits=SplitsConfig(train=["1959-01-01", "1959-01-11"]),
        harmonics=0,
        lags=[1],
    )
    recipe.data.source = source(path)
    store = TrainingStore.open(prepare(recipe))
    fields = store.read(slice(0, 11))
    for index, name in enumerate(names):
        variable, _, level = name.partition("@")
        expected = truth[variable].sel(level=int(level)).isel(time=slice(None, None, 4))
        np.testing.assert_array_equal(fields[:, index], expected.values[: len(fields)])
