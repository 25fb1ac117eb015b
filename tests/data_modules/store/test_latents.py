"""The latent store is written once for what it depends on, and read standardised."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from torch import Tensor, nn

from data_modules.store.latents import (
    LatentDataModule,
    LatentStore,
    wait_for_latents,
    write_latents,
)
from slams.assimilators.base import Archive
from slams.errors import UserError
from slams.nn.latent_space import LatentSpace

KEY = {"vae": "run-1", "data": "abc"}


class Means(nn.Module):
    """Encodes fields by the means of patches of 4 x 4 points, counting its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, fields: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        mean = nn.functional.avg_pool2d(torch.where(mask, fields, 0.0), 4)
        return mean, torch.zeros_like(mean)


def space() -> LatentSpace:
    return LatentSpace(Means(), nn.Identity(), torch.zeros(3), torch.ones(3))


def archive(count: int, seed: int = 0, days: int = 2) -> Archive:
    draw = torch.Generator().manual_seed(seed)
    fields, background = (
        torch.randn(count, days, 3, 8, 16, generator=draw)
        * torch.tensor([1.0, 3.0, 0.1])[:, None, None]
        + 2.0
        for _ in range(2)
    )
    return Archive(
        fields, background, 9000.0 + torch.arange(count).double()[:, None] + torch.arange(days)
    )


def write(path: Path, space: LatentSpace, splits: dict[str, Archive], key: dict[str, str]) -> None:
    write_latents(path, space, splits.items(), key)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "vae" / "latents.zarr"
    write(path, space(), {"train": archive(70), "validation": archive(9, 1)}, KEY)
    return path


def test_latents_are_standardised_over_the_training_windows(store: Path) -> None:
    train, validation = LatentStore(store, "train"), LatentStore(store, "validation")
    assert train.latents.shape == (70, 2, 3, 2, 4)
    raw = nn.functional.avg_pool2d(archive(70).fields.flatten(0, 1), 4).unflatten(0, (70, 2))
    values = raw.movedim(2, 0).reshape(3, -1)
    torch.testing.assert_close(train.mean, values.mean(dim=1))
    torch.testing.assert_close(train.sd, values.std(dim=1))
    torch.testing.assert_close(
        train.latents, (raw - train.mean[:, None, None]) / train.sd[:, None, None]
    )
    # Background and validation share the scale of the training windows.
    for part, seed, count in ((train, 0, 70), (validation, 1, 9)):
        raw = nn.functional.avg_pool2d(archive(count, seed).background.flatten(0, 1), 4)
        expected = (raw.unflatten(0, (count, 2)) - train.mean[:, None, None]) / train.sd[
            :, None, None
        ]
        torch.testing.assert_close(part.background, expected)
    season = (9000.0 + torch.arange(70)) / 365.2425 % 1
    torch.testing.assert_close(train.season, season)


def test_missing_values_are_encoded_as_missing(tmp_path: Path) -> None:
    whole = archive(5)
    known = torch.ones_like(whole.fields, dtype=torch.bool)
    known[2, 1, 0, :4, :4] = False
    gaps = replace(whole, known=known, background_known=known)
    path = tmp_path / "latents.zarr"
    write(path, space(), {"train": whole, "validation": gaps}, KEY)
    one, other = LatentStore(path, "train"), LatentStore(path, "validation")
    for name in ("latents", "background"):
        differs = getattr(one, name) != getattr(other, name)
        assert differs.nonzero().tolist() == [[2, 1, 0, 0, 0]]


def test_a_latent_that_never_varies_is_no_number_to_divide_by(tmp_path: Path) -> None:
    constant = archive(5)
    constant.fields[:, :, 1] = 7.0
    path = tmp_path / "latents.zarr"
    write(path, space(), {"train": constant, "validation": constant}, KEY)
    assert torch.isfinite(LatentStore(path, "train").latents).all()


def test_a_complete_store_is_kept(store: Path) -> None:
    again = space()
    write(store, again, {"train": archive(70, 5), "validation": archive(9, 6)}, KEY)
    assert again.encoder.calls == 0
    assert LatentStore(store, "train").latents.shape[0] == 70


@pytest.mark.parametrize("key", [{**KEY, "vae": "run-2"}, {"vae": "run-1"}])
def test_another_key_writes_it_again(store: Path, key: dict[str, str]) -> None:
    write(store, space(), {"train": archive(8, 5), "validation": archive(3, 6)}, key)
    assert len(LatentStore(store, "train")) == 8
    assert len(LatentStore(store, "validation")) == 3
    assert dict(zarr.open_group(store, mode="r").attrs)["key"] == key


def cut_before_the_key(path: Path) -> None:
    attributes = zarr.open_group(path, mode="a").attrs
    del attributes["key"]


def cut_at_the_first_file(path: Path) -> None:
    (path / "zarr.json").unlink()


def cut_in_the_first_file(path: Path) -> None:
    (path / "zarr.json").write_text('{"zarr_for')


def of_another_layout(path: Path) -> None:
    zarr.open_group(path, mode="a").attrs["slams_latents"] = 99


@pytest.mark.parametrize(
    "damage", [cut_before_the_key, cut_at_the_first_file, cut_in_the_first_file, of_another_layout]
)
def test_a_store_that_was_cut_short_is_refused_and_written_again(store: Path, damage) -> None:
    expected = LatentStore(store, "train").latents
    damage(store)
    with pytest.raises(UserError, match="not there or incomplete; run `slams train score`"):
        LatentStore(store, "train")
    write(store, space(), {"train": archive(70), "validation": archive(9, 1)}, KEY)
    assert torch.equal(LatentStore(store, "train").latents, expected)


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not there"):
        LatentDataModule(tmp_path / "nothing.zarr", 4, 0)


def rows(loader) -> list[list[float]]:
    """Gives the seasons of each batch, which identify the windows."""
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
    """Stands in for a Trainer of several processes."""

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
    # Standardised by the training period alone, whichever backgrounds come with it.
    torch.testing.assert_close(data.train.mean, LatentStore(path, "train").mean)
    raw = nn.functional.avg_pool2d(archive(5, 2).background.flatten(0, 1), 4).unflatten(0, (5, 2))
    scale = data.train.mean[:, None, None], data.train.sd[:, None, None]
    torch.testing.assert_close(batch.background[1:], ((raw - scale[0]) / scale[1])[[0, 4]])
    assert data.validation.__getitems__([0]).age is None
    assert LatentStore(path, "train").__getitems__([0]).age is None


def test_turned_copies_are_further_training_windows_of_the_usual_age(tmp_path: Path) -> None:
    path = tmp_path / "latents.zarr"
    whole = archive(6)
    turned = {f"train_turned_{cells}": whole.turned(cells) for cells in (-4, 4)}
    write(path, space(), {"train": whole, **turned, "validation": archive(3, 1)}, KEY)
    train = LatentDataModule(path, batch_size=4, seed=0, turned=(-4, 4)).train
    assert len(train) == 18
    batch = train.__getitems__([2, 8, 14])
    assert batch.age is None
    # A patch is four cells: what is turned by four is turned by one latent point.
    for name in ("latents", "background"):
        plain, west, east = getattr(batch, name)
        torch.testing.assert_close(west, plain.roll(-1, -1))
        torch.testing.assert_close(east, plain.roll(1, -1))
    assert batch.season.unique().numel() == 1
    torch.testing.assert_close(train.mean, LatentStore(path, "train").mean)


def test_a_store_that_is_kept_asks_for_no_windows(store: Path) -> None:
    asked = []

    def windows() -> Iterator[tuple[str, Archive]]:
        for name in ("train", "validation"):
            asked.append(name)
            yield name, archive(3)

    write_latents(store, space(), windows(), KEY)
    assert asked == []
    write_latents(store, space(), windows(), {**KEY, "vae": "run-2"})
    assert asked == ["train", "validation"]


def test_other_ranks_wait_for_rank_zero(tmp_path: Path) -> None:
    path = tmp_path / "vae" / "latents.zarr"
    with pytest.raises(UserError, match="rank zero has not written it within 0 s"):
        wait_for_latents(path, KEY, patience=0.0, look=0.0)
    seen = []

    def wait() -> None:
        wait_for_latents(path, KEY, patience=60, look=0.01)
        seen.append(len(LatentStore(path, "train")))

    waiting = threading.Thread(target=wait)
    waiting.start()
    # A store of another VAE is not the one that is waited for.
    splits = {"train": archive(8), "validation": archive(3, 1)}
    write(path, space(), splits, {**KEY, "vae": "run-0"})
    assert seen == []
    write(path, space(), {**splits, "train": archive(12)}, KEY)
    waiting.join(timeout=60)
    assert seen == [12]
