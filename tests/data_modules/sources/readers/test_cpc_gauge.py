"""CPC gauges: the ocean is missing, also in the training store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from data_modules.store.training_store import TrainingStore
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.plugins.sources import SOURCES
from slams.stages.sources import prepare
from tests.data_modules.public_layouts import cpc_gauge
from tests.synthetic import tiny_recipe

RAIN = (FieldSpec.parse("total_precipitation_24hr"),)
NAME = RAIN[0].variable


def opened(path: Path) -> xr.Dataset:
    return open_source(SourceConfig(kind="cpc_gauge", path=str(path)), RAIN)


def test_ocean_is_missing_and_dry_land_is_zero(tmp_path):
    truth = cpc_gauge(tmp_path)["precip"].values
    found = opened(tmp_path / "precip.2001.nc")
    np.testing.assert_array_equal(found[NAME].values, truth)
    assert np.isnan(truth).mean() > 0.5
    assert (truth == 0).any()
    assert found["latitude"].values[[0, -1]].tolist() == [87.5, -87.5]
    assert found["longitude"].values[0] == 2.5
    assert SOURCES.get("cpc_gauge", "data.source.kind").gaps == (NAME,)
    assert "local-day total" in found.attrs["time"]


def test_years_are_joined(tmp_path):
    truth = cpc_gauge(tmp_path, (2001, 2002))["precip"].values
    found = opened(tmp_path / "precip.*.nc")
    np.testing.assert_array_equal(found[NAME].values, truth)
    assert found["time"].values[[0, 12]].tolist() == [11323.0, 11688.0]


def test_filled_ocean_is_refused(tmp_path):
    dataset = cpc_gauge(tmp_path).fillna(0.0)
    dataset["precip"].attrs = {"units": "mm"}
    dataset.to_netcdf(tmp_path / "filled.nc")
    with pytest.raises(
        UserError, match=r"0% of the first day is missing.*no values there, not zeros"
    ):
        opened(tmp_path / "filled.nc")


def test_gaps_need_no_word_in_the_recipe(tmp_path):
    cpc_gauge(tmp_path, days=30)
    recipe = tiny_recipe(tmp_path, "sample", channels=[NAME], harmonics=0, lags=[1])
    recipe.data.source = SourceConfig(
        kind="cpc_gauge", path=str(tmp_path / "precip.*.nc"), grid="18x36"
    )
    recipe.data.splits.train = ["2001-01-01", "2001-01-28"]
    recipe.data.splits.validation = recipe.data.splits.test = []
    store = TrainingStore.open(prepare(recipe))
    values = store.read(slice(None))[:, 0]
    assert store.attributes["gaps"] == [NAME]
    assert 0.3 < np.isnan(values).mean() < 0.9
    assert "local-day" in store.attributes["sources"][0]["time"]
    assert np.isnan(values[0]).tolist() == np.isnan(values[-1]).tolist()
