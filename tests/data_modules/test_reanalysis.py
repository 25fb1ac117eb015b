"""Reading a whole split: every window once, in order, as in training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from data_modules.reanalysis import read_batches
from slams.config.schema import Config
from slams.stages.data import multimodal, reanalysis


def test_every_window_once_in_the_order_of_time(tiny_config: Config) -> None:
    datamodule = reanalysis(tiny_config)
    batches = list(read_batches(datamodule, "train", size=16))
    assert [len(b) for b in batches] == [16, 16, 16, 16, 6]
    case = torch.cat([b.case for b in batches])
    assert case.tolist() == datamodule.splits["train"].tolist()
    assert torch.isfinite(torch.cat([b.fields for b in batches])).all()
    assert all(b.observations == () for b in batches)


@pytest.mark.parametrize("count", [1, 2, 7, 69])
def test_some_windows_are_evenly_spaced(tiny_config: Config, count: int) -> None:
    datamodule = reanalysis(tiny_config)
    case = torch.cat([b.case for b in read_batches(datamodule, "train", count)])
    assert len(case.unique()) == count
    if count > 1:
        first, last = datamodule.splits["train"][[0, -1]]
        assert (case[0], case[-1]) == (first, last)
        assert int(case.diff().max() - case.diff().min()) <= 1


def test_more_windows_than_there_are_gives_all(tiny_config: Config) -> None:
    datamodule = reanalysis(tiny_config)
    assert sum(len(b) for b in read_batches(datamodule, "validation", 500)) == 12


def test_windows_of_two_days_come_with_their_backgrounds(tiny_config: Config) -> None:
    config = replace(tiny_config, data=replace(tiny_config.data, window=2))
    datamodule = multimodal(config)
    (batch,) = read_batches(datamodule, "validation")
    assert batch.fields.shape == (11, 2, 4, 12, 24)
    assert batch.background.mean.shape == batch.fields.shape
    assert batch.observations == ()
    torch.testing.assert_close(batch.fields[1:, 0], batch.fields[:-1, 1])
