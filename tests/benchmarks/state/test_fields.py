"""What is read of a store: anomalies, and products of wind and gradient in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.store.training_store import TrainingStore
from slams.benchmarks.state.fields import choose_channels, read_band
from slams.benchmarks.state.predictors import choose_predictors
from slams.benchmarks.state.recipe import STATES, RegressionConfig
from slams.errors import UserError
from tests.benchmarks.state.linear_world import CHANNELS, climatology


def test_a_band_holds_anomalies_and_products(linear_world: Path) -> None:
    store = TrainingStore.open(linear_world)
    channels = choose_channels(store, [850], list(STATES))
    band = read_band(store, channels, np.arange(5), range(2, 4), margin=1)
    # A row more on either side for the gradients.
    assert band.first == 0
    assert band.values.shape == (len(CHANNELS) + 4, 6, 5, 12)
    names = [spec.name for spec in channels.specs]
    mean = climatology(store.grid.shape)
    raw = {name: store.read(np.arange(5))[:, CHANNELS.index(name)] for name in names}
    for name in ("temperature@500", "v_component_of_wind@500"):
        expected = (raw[name] - mean).transpose(1, 0, 2) / 2
        np.testing.assert_allclose(band.values[names.index(name)], expected, rtol=1e-4, atol=1e-5)
    temperature = raw["temperature@850"]

    def east(wind: np.ndarray, field: np.ndarray) -> np.ndarray:
        return wind * (np.roll(field, -1, axis=-1) - np.roll(field, 1, axis=-1)) / 2

    def north(wind: np.ndarray, field: np.ndarray) -> np.ndarray:
        return wind * np.gradient(field, axis=-2)

    # What is left of the whole product without that of the climatology.
    products = [
        east(raw["u_component_of_wind@850"], temperature) - east(mean, mean),
        north(raw["v_component_of_wind@850"], temperature) - north(mean, mean),
    ]
    for place, product in zip(channels.product_index["winds_3"], products, strict=True):
        rows = product.transpose(1, 0, 2) / (2 * 2)  # standard deviations of wind and T
        np.testing.assert_allclose(band.values[place], rows, rtol=1e-4, atol=1e-5)
    assert torch.equal(band.sd, torch.full((2, 6, 12), 2.0))


def test_predictors_are_cut_at_the_poles_and_go_round_the_globe(linear_world: Path) -> None:
    store = TrainingStore.open(linear_world)
    channels = choose_channels(store, [850], list(STATES))
    config = RegressionConfig(patch=[3, 5], wind_patch=[1, 1], before_patch=[1, 3])
    predictors = choose_predictors(channels, config, 6)
    # T, surface and pressure: 6 channels; winds and humidity 3 + 2; products 2 + 2; 6 before.
    assert [len(predictors.groups(row)) for row in (0, 1, 5)] == [
        6 * rows * 5 + 5 + 4 + 6 * 3 + 1 for rows in (2, 3, 2)
    ]
    band = read_band(store, channels, np.arange(6), range(6), margin=predictors.margin)
    start = torch.tensor([1, 3])
    filled = predictors.fill(band, 0, start)
    # The first patch: both levels, rows 0 and 1, columns -2 to 2.
    assert torch.equal(filled[0], band.values[0, 0, start].roll(2, dims=-1))
    assert torch.equal(filled[11], band.values[1, 1, start].roll(2, dims=-1))
    assert torch.equal(filled[-3], torch.ones(2, 12))
    assert torch.equal(filled[-2:], band.values[:2, 0, start + 1])
    before = predictors.groups(0).index("before")
    assert torch.equal(filled[before], band.values[0, 0, start - 1].roll(1, dims=-1))
    small = predictors.index(0, "surface")
    assert {predictors.groups(0)[i] for i in small} == {"temperature", "surface", ""}


def test_a_store_without_winds_is_refused_where_a_state_wants_them(linear_world: Path) -> None:
    store = TrainingStore.open(linear_world)
    less = store.select([c for c in CHANNELS if c != "v_component_of_wind@500"])
    with pytest.raises(UserError, match="lacks v_component_of_wind@500, which"):
        choose_channels(less, [850], ["surface", "winds"])
    assert len(choose_channels(less, [850], ["winds_3_before"]).specs) == 9
    with pytest.raises(UserError, match="lacks u_component_of_wind@300"):
        choose_channels(store, [300], ["winds_3"])
