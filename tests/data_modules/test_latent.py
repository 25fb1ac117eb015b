"""Latent windows are shuffled, shared between ranks, and come with their further copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data_modules.latent import LatentDataModule
from data_modules.store.latents import LatentStore
from slams.errors import UserError
from tests.data_modules.latent_windows import KEY, archive, space, write


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "vae" / "latents.zarr"
    write(path, space(), {"train": archive(70), "validation": archive(9, 1)}, KEY)
    return path


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing or incomplete"):
        LatentDataModule(tmp_path / "nothing.zarr", 4, 0)


def rows(loader) -> list[list[float]]:
    """Return the seasons of each batch, which identify the windows."""
    return [batch.season.tolist() for batch in loader]


def test_training_order_depends_on_seed_and_epoch_alone(store: Path) -> None:
    loader = LatentDataModule(store, 16, seed=3).train_dataloader()
    first, second = rows(loader), rows(loader)
    assert [len(batch) for batch in first] == [16] * 4
    assert first != second
    assert len(set(np.concatenate(first))) == 64
    again = LatentDataModule(store, 16, seed=3).train_dataloader()
    assert [rows(again), rows(again)] == [first, second]
    assert rows(LatentDataModule(store, 16, seed=4).train_dataloader()) != first


def test_few_windows_make_one_short_batch(store: Path) -> None:
    loader = LatentDataModule(store, 100, seed=3).train_dataloader()
    assert [len(batch) for batch in rows(loader)] == [70]


def test_validation_serves_each_window_once_in_order(store: Path) -> None:
    datamodule = LatentDataModule(store, 4, seed=3)
    batches = rows(datamodule.val_dataloader())
    assert [len(b) for b in batches] == [4, 4, 1]
    assert np.concatenate(batches).tolist() == datamodule.validation.season.tolist()


def test_a_batch_is_what_the_store_holds(store: Path) -> None:
    datamodule = LatentDataModule(store, 4, seed=3)
    assert datamodule.latent_shape == (2, 3, 2, 4)
    batch = next(iter(datamodule.train_dataloader()))
    for position, season in enumerate(batch.season.tolist()):
        at = datamodule.train.season.tolist().index(season)
        assert torch.equal(batch.latents[position], datamodule.train.latents[at])
        assert torch.equal(batch.background[position], datamodule.train.background[at])


class Ranks:
    """Stand-in for a Trainer of several processes."""

    world_size = 2

    def __init__(self, rank: int) -> None:
        self.global_rank = rank


def test_ranks_share_the_windows(store: Path) -> None:
    train, validation = [], []
    for rank in range(2):
        datamodule = LatentDataModule(store, 4, seed=3)
        datamodule.trainer = Ranks(rank)  # type: ignore[assignment]
        train.append(np.concatenate(rows(datamodule.train_dataloader())).tolist())
        validation.append(np.concatenate(rows(datamodule.val_dataloader())).tolist())
    assert len(train[0]) == len(train[1]) == 32  # 35 each, in batches of 4
    assert set(train[0]).isdisjoint(train[1])
    everything = datamodule.validation.season.tolist()
    assert sorted(validation[0] + validation[1]) == sorted(everything)
    assert (len(validation[0]), len(validation[1])) == (5, 4)


def test_backgrounds_of_other_ages_are_further_training_windows(tmp_path: Path) -> None:
    path = tmp_path / "latents.zarr"
    parts = {"train": archive(6), "validation": archive(3, 1), "train_lag_1": archive(5, 2)}
    write(path, space(), parts, KEY)
    data = LatentDataModule(path, batch_size=4, seed=0, ages={1: 0.5})
    assert len(data.train) == 11
    batch = data.train.__getitems__([5, 6, 10])
    assert batch.age.tolist() == [1.0, 0.5, 0.5]
    # Standardised by the training period only, for any backgrounds.
    torch.testing.assert_close(data.train.mean, LatentStore(path, "train").mean)
    raw = nn.functional.avg_pool2d(archive(5, 2).background.flatten(0, 1), 4).unflatten(0, (5, 2))
    scale = data.train.mean[:, None, None], data.train.sd[:, None, None]
    torch.testing.assert_close(batch.background[1:], ((raw - scale[0]) / scale[1])[[0, 4]])
    assert data.validation.__getitems__([0]).age is None
    assert LatentStore(path, "train").__getitems__([0]).age is None


def test_turned_copies_are_further_training_windows_of_the_usual_age(tmp_path: Path) -> None:
    path = tmp_path / "latents.zarr"
    whole = archive(6)
    turned = {f"train_turned_{cells}": whole.rolled(cells) for cells in (-4, 4)}
    write(path, space(), {"train": whole, **turned, "validation": archive(3, 1)}, KEY)
    train = LatentDataModule(path, batch_size=4, seed=0, longitude_shifts=(-4, 4)).train
    assert len(train) == 18
    batch = train.__getitems__([2, 8, 14])
    assert batch.age is None
    # A patch is four cells wide: a shift by four cells is a shift by one latent point.
    for name in ("latents", "background"):
        plain, west, east = getattr(batch, name)
        torch.testing.assert_close(west, plain.roll(-1, -1))
        torch.testing.assert_close(east, plain.roll(1, -1))
    assert batch.season.unique().numel() == 1
    torch.testing.assert_close(train.mean, LatentStore(path, "train").mean)
