"""Stores with winds and humidity: other levels, another transform, negative noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from data_modules.store.manifest import read_manifest, verify
from data_modules.store.training_store import TrainingStore
from slams.config.schema import Config
from slams.errors import UserError
from slams.stages.sources import prepare
from tests.synthetic import CHANNELS, MOVING_AIR, nature_run, tiny_recipe


def recipe_of(tmp_path: Path, dataset: xr.Dataset, channels: list[str]) -> Config:
    path = tmp_path / "source.zarr"
    dataset.to_zarr(path, zarr_format=3, consolidated=False)
    return tiny_recipe(tmp_path, path, channels=channels)


def test_every_channel_is_that_of_the_source(tmp_path):
    dataset = nature_run(winds=True)
    names = [*CHANNELS, *MOVING_AIR]
    store = TrainingStore.open(prepare(recipe_of(tmp_path, dataset, names)))
    fields = store.read(slice(None))
    for index, name in enumerate(names):
        variable, _, level = name.partition("@")
        values = dataset[variable].sel(level=int(level)) if level else dataset[variable]
        np.testing.assert_array_equal(fields[:, index], values.values)
        assert store.attributes["units"][index] == dataset[variable].attrs.get(
            "units", store.channels[index].units
        )
    # Statistics are in channel units: the climatology of humidity is one of its root.
    root = np.sqrt(dataset["specific_humidity"].sel(level=850).values[:70].astype(np.float64))
    humidity = names.index("specific_humidity@850")
    days = torch.from_numpy(store.time[None, :70])
    climatology = store.normaliser().climatology(days)[0, :, humidity].double().numpy()
    np.testing.assert_allclose(climatology.mean(axis=0), root.mean(axis=0), rtol=1e-4)
    rms = np.sqrt(((root - climatology) ** 2).mean(axis=0))
    sd = store.statistics.sd[humidity].numpy()
    np.testing.assert_allclose(sd[sd > 1.001 * sd.min()], rms[sd > 1.001 * sd.min()], rtol=1e-3)
    assert "negative_values_set_to_zero" not in store.attributes
    assert "cleared" not in (store.path / "fields" / "manifest.json").read_text()


def test_noise_below_zero_is_stored_as_zero_and_counted(tmp_path, capsys):
    dataset = nature_run(winds=True)
    dataset["specific_humidity"][3, 0, 2, 5] = -2e-5
    dataset["specific_humidity"][90, 0, 0, :4] = -1e-9
    dataset["total_precipitation_24hr"][4, 1, 1] = -1e-3  # kept: its transform accepts it
    path = prepare(recipe_of(tmp_path, dataset, [*CHANNELS, "specific_humidity@850"]))
    store = TrainingStore.open(path)
    humidity = store.read(slice(None))[:, -1]
    assert humidity.min() == 0.0
    assert humidity[3, 2, 5] == 0.0
    assert not humidity[90, 0, :4].any()
    assert store.read([4])[0, 2, 1, 1] == np.float32(-1e-3)
    assert store.attributes["negative_values_set_to_zero"] == 5
    assert sum(record.cleared for record in read_manifest(path).records) == 5
    assert "5 negative values of humidity" in capsys.readouterr().out
    verify(path)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("specific_humidity", -0.01, r"has the value -0.01, expected -0.001 to 0.05 kg kg-1"),
        ("specific_humidity", 12.0, r"has the value 12, expected .* kg kg-1; check units"),
        ("u_component_of_wind", 900.0, r"has the value 900, expected -250 to 250 m s-1"),
    ],
)
def test_values_that_are_no_weather_are_refused(tmp_path, variable, value, words):
    dataset = nature_run(winds=True)
    dataset[variable][7, 0, 2, 5] = value
    with pytest.raises(UserError, match=rf"{variable}@850 of 2001-01-08 {words}"):
        prepare(recipe_of(tmp_path, dataset, MOVING_AIR))


def test_humidity_where_the_run_has_none_is_refused(tmp_path):
    recipe = recipe_of(tmp_path, nature_run(winds=True), ["specific_humidity@500"])
    with pytest.raises(UserError, match=r"specific_humidity@500 of 2001-01-01 has no value"):
        prepare(recipe)


def test_a_run_without_winds_is_refused_in_one_sentence(tmp_path):
    recipe = recipe_of(tmp_path, nature_run(), [*CHANNELS, "u_component_of_wind@850"])
    words = r"variable 'u_component_of_wind' .* is missing; found .*temperature.*absent"
    with pytest.raises(UserError, match=words) as refused:
        prepare(recipe)
    assert "\n" not in str(refused.value)


def test_a_store_without_winds_is_refused_in_one_sentence(tmp_path):
    path = prepare(recipe_of(tmp_path, nature_run(winds=True), CHANNELS))
    words = (
        r"data.channels: 'v_component_of_wind@500' is not in training store .*; found channels "
        r"temperature@850, .*; change data.channels, or prepare a store that has it"
    )
    with pytest.raises(UserError, match=words) as refused:
        TrainingStore.open(path, [*CHANNELS, "v_component_of_wind@500"])
    assert "\n" not in str(refused.value)
