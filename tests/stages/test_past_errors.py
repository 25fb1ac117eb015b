"""Past errors of backgrounds are those of the recipe's backgrounds, of unit variance."""

from __future__ import annotations

from dataclasses import replace

import torch

from slams.config.schema import BackgroundConfig, Config
from slams.stages import memory
from slams.stages.data import analysed_days
from slams.stages.memory import assimilation_sizes
from slams.stages.past_errors import past_errors
from slams.stages.store_shape import store_shape


def test_they_are_differences_of_state_and_background(tiny_config: Config) -> None:
    data = analysed_days(tiny_config)
    found = past_errors(tiny_config, data)
    assert found is not None
    archive = data.archive(len(found))
    expected = archive.fields - archive.background
    expected = expected / expected.square().mean(dim=0).sqrt()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.square().mean(dim=0), torch.ones(found.shape[1:]))
    sizes = assimilation_sizes(tiny_config, store_shape(tiny_config))
    assert sizes.past_errors == len(found)


def test_without_a_background_they_are_anomalies(tiny_config: Config) -> None:
    config = replace(tiny_config, background=BackgroundConfig(kind="climatology"))
    data = analysed_days(config)
    found = past_errors(config, data)
    assert found is not None
    fields = data.archive(len(found)).fields
    torch.testing.assert_close(found, fields / fields.square().mean(dim=0).sqrt())


def test_there_are_none_where_the_training_period_is_short(
    tiny_config: Config, monkeypatch
) -> None:
    monkeypatch.setattr(memory, "_FEWEST_PAST", 1_000)
    assert past_errors(tiny_config, analysed_days(tiny_config)) is None
