"""Several sources of one store: channels of each, common grid, days joined by date."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.preparation.plan import Plan, plan
from data_modules.store.manifest import verify
from data_modules.store.training_store import TrainingStore
from slams.config.checks import check
from slams.config.schema import Config, SourceConfig
from slams.errors import UserError
from slams.stages.sources import prepare
from tests.synthetic import CHANNELS, tiny_recipe


@pytest.fixture
def whole(tiny_source) -> xr.Dataset:
    dataset = xr.open_zarr(tiny_source, consolidated=False).load()
    for variable in dataset.variables.values():
        variable.encoding = {}
    return dataset


def written(dataset: xr.Dataset, path: Path) -> str:
    dataset.to_zarr(path, zarr_format=3, consolidated=False)
    return str(path)


def split_recipe(directory: Path, whole: xr.Dataset, radiation: xr.Dataset | None = None):
    """Write temperature and precipitation into one source, radiation into another."""
    name = "outgoing_longwave_radiation"
    first = written(whole.drop_vars([name, "2m_temperature"]), directory / "first.zarr")
    part = whole[[name]] if radiation is None else radiation
    second = written(part, directory / "second.zarr")
    recipe = tiny_recipe(directory, "sample")
    recipe.data.sources = [
        SourceConfig(path=first, channels=["temperature", CHANNELS[2]], origin="the first"),
        SourceConfig(path=second, channels=[CHANNELS[3]]),
    ]
    check(recipe)
    return recipe


def checked_plan(recipe: Config) -> Plan:
    check(recipe)
    return plan(recipe.data)


def test_channels_of_two_sources_are_those_of_one(tmp_path, whole, tiny_prepared):
    recipe = split_recipe(tmp_path, whole)
    store = TrainingStore.open(prepare(recipe))
    expected = TrainingStore.open(tiny_prepared)
    np.testing.assert_array_equal(store.read(slice(None)), expected.read(slice(None)))
    np.testing.assert_array_equal(store.time, expected.time)
    found = store.attributes["sources"]
    assert [s["channels"] for s in found] == [", ".join(CHANNELS[:3]), CHANNELS[3]]
    assert found[0]["origin"] == "the first"
    assert not any("left_out" in s for s in found)
    verify(store.path)
    assert prepare(recipe) == store.path  # kept: it is of this recipe


def test_days_that_one_source_lacks_are_left_out_and_counted(tmp_path, whole):
    days = np.r_[3:40, 42:110]
    radiation = whole[["outgoing_longwave_radiation"]].isel(time=days)
    recipe = split_recipe(tmp_path, whole, radiation)
    text = plan(recipe.data).describe()
    assert "5 of 110 days, which another source lacks; 2 of them between" in text
    assert "the first 2001-02-10" in text
    store = TrainingStore.open(prepare(recipe))
    np.testing.assert_array_equal(store.time, 11323.0 + days)
    np.testing.assert_array_equal(
        store.read(slice(None))[:, 0], whole["temperature"].sel(level=850).values[days]
    )
    np.testing.assert_array_equal(
        store.read(slice(None))[:, 3], whole["outgoing_longwave_radiation"].values[days]
    )
    first, second = store.attributes["sources"]
    assert first["left_out"].startswith("5 of 110 days")
    assert "left_out" not in second


def test_every_source_comes_to_the_grid_of_the_first(tmp_path, whole):
    coarse = whole[["outgoing_longwave_radiation"]].coarsen(longitude=2).mean()
    coarse = coarse.assign_coords(longitude=30.0 * np.arange(12))
    recipe = split_recipe(tmp_path, whole, coarse)
    store = TrainingStore.open(prepare(recipe))
    assert store.grid.shape == (12, 24)
    assert [s["regridding"] for s in store.attributes["sources"]] == ["none", "conservative"]
    values = store.read(slice(None))[:, 3].mean(axis=-1)
    expected = coarse["outgoing_longwave_radiation"].values.mean(axis=-1)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_shares_that_do_not_fit_are_refused(tmp_path, whole):
    recipe = split_recipe(tmp_path, whole)
    first, second = recipe.data.sources

    def refused(match: str, *sources: SourceConfig) -> None:
        recipe.data.sources = list(sources)
        with pytest.raises(UserError, match=match):
            checked_plan(recipe)

    refused(
        r"data\.sources\.1\.channels: outgoing_longwave_radiation is also provided by "
        r"data\.sources\.0",
        replace(first, channels=[*first.channels, CHANNELS[3]]),
        second,
    )
    refused(r"data\.channels: outgoing_longwave.*provided by none of data\.sources", first)
    refused(
        r"data\.sources\.1\.channels: '2m_temperature' is not among data\.channels",
        first,
        replace(second, channels=["2m_temperature"]),
    )
    refused(r"data\.sources\.1\.channels'.*empty list", first, replace(second, channels=[]))
    refused(r"data\.sources\.1\.grid'.*'6x12'", first, replace(second, grid="6x12"))
    refused(r"data\.sources\.1\.kind'.*'nature'", first, replace(second, kind="nature"))
    refused(r"data\.sources\.1\.path: .*none does not exist", first, replace(second, path="none"))
    recipe.data.source = SourceConfig(path="x")
    refused(r"data\.sources'.*together with data\.source", first, second)


def test_sources_without_a_common_day_are_refused(tmp_path, whole):
    late = whole[["outgoing_longwave_radiation"]]
    late = late.assign_coords(time=late["time"] + np.timedelta64(400, "D"))
    recipe = split_recipe(tmp_path, whole, late)
    with pytest.raises(UserError, match=r"no day is in all.*2001-01-01 to.*2002-02-05 to"):
        plan(recipe.data)


def test_missing_value_names_the_source_that_has_it(tmp_path, whole):
    radiation = whole[["outgoing_longwave_radiation"]].copy(deep=True)
    radiation["outgoing_longwave_radiation"][10, 3, 4] = np.nan
    recipe = split_recipe(tmp_path, whole, radiation)
    with pytest.raises(UserError, match=r"2001-01-11.*to data\.sources\.1\.gaps"):
        prepare(recipe)
    recipe.data.sources[1].gaps = [CHANNELS[3]]
    store = TrainingStore.open(prepare(recipe))
    assert store.attributes["gaps"] == [CHANNELS[3]]
    assert np.isnan(store.read([10])[0, 3, 3, 4])
