"""The DataModules of a recipe take from it what they need, and nothing is lost on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from data_modules.reanalysis import ReanalysisDataModule
from data_modules.store.training_store import TrainingStore
from slams.config.schema import Config, DegradationConfig
from slams.fields import Batch
from slams.stages.data import (
    analysed_days,
    fields_only,
    multimodal,
    pixel,
    reanalysis,
    trajectories,
    withholding,
)


def first(module: ReanalysisDataModule, split: str = "test") -> Batch:
    loader = getattr(module, f"{split}_dataloader")()
    return module.on_after_batch_transfer(next(iter(loader)))


def sized(config: Config) -> Config:
    return replace(
        config,
        data=replace(config.data, batch_size=6),
        assimilation=replace(config.assimilation, batch_size=3),
        score=replace(config.score, batch_size=5),
    )


@pytest.mark.parametrize("make", [reanalysis, multimodal])
def test_batches_have_the_sizes_of_the_recipe(tiny_config, make):
    config = sized(tiny_config)
    assert (len(first(make(config), "train")), len(first(make(config)))) == (6, 3)
    module = make(config, batch_size=2)
    assert (len(first(module, "train")), len(first(module))) == (2, 2)


@pytest.mark.parametrize("make", [reanalysis, multimodal, trajectories])
def test_an_open_store_is_not_opened_again(tiny_config, make):
    store = TrainingStore.open(tiny_config.data.store, tiny_config.data.channels)
    assert make(tiny_config, store=store).store is store


@pytest.mark.parametrize("make", [reanalysis, multimodal])
def test_the_seed_orders_the_training_windows(tiny_config, make):
    orders = [
        torch.cat([w.case for w in make(replace(tiny_config, seed=seed)).train_dataloader()])
        for seed in (0, 0, 1)
    ]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_the_seed_draws_the_observations(tiny_config):
    config = replace(
        tiny_config,
        observations=replace(
            tiny_config.observations,
            use=["stations", "satellite", "degraded"],
            degraded=DegradationConfig(channels=["temperature@500"], block=2),
            gross_error=np.inf,
        ),
    )
    same, other = (first(multimodal(replace(config, seed=seed))).observations for seed in (0, 1))
    again = first(multimodal(config)).observations
    assert [o.modality for o in same] == ["stations", "satellite", "degraded"]
    for one, repeated, changed in zip(same, again, other, strict=True):
        torch.testing.assert_close(one.values, repeated.values, equal_nan=True, rtol=0, atol=0)
        assert not torch.equal(one.values.nan_to_num(), changed.values.nan_to_num())


def test_windows_are_as_long_as_what_is_analysed_at_once(tiny_config):
    data = replace(tiny_config.data, window=1, trajectory=2, batch_size=4)
    config = replace(tiny_config, data=data, background=replace(tiny_config.background, lag=1))
    assert first(multimodal(config)).fields.shape[1] == 1
    assert first(trajectories(config)).fields.shape[1] == 2
    assert first(analysed_days(config, batch_size=1)).fields.shape[:2] == (1, 2)


def test_a_setting_withholds_the_other_modalities(tiny_config):
    setting = replace(
        tiny_config, observations=replace(tiny_config.observations, use=["satellite"])
    )
    whole = first(multimodal(tiny_config)).observations
    part = first(withholding(setting, tiny_config)).observations
    assert [o.modality for o in part] == [o.modality for o in whole] == ["stations", "satellite"]
    assert bool(whole[0].mask.any())
    assert not bool(part[0].mask.any())
    assert torch.equal(part[1].mask, whole[1].mask)
    assert len(first(withholding(setting, sized(tiny_config)))) == 4
    assert len(first(withholding(sized(setting), tiny_config))) == 3


def test_a_score_model_is_trained_without_observations_or_a_shifted_climatology(tiny_config):
    background = replace(tiny_config.background, recentre_days=10)
    config = replace(tiny_config, background=background)
    assert multimodal(fields_only(config)).operators() == {}
    assert multimodal(fields_only(config)).earlier_days == 1
    assert multimodal(config).earlier_days == 10
    module = pixel(sized(config))
    assert module.operators() == {}
    assert module.earlier_days == 1
    assert len(first(module, "train")) == 5
