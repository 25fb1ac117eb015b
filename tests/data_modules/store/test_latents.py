"""The latent store is written once per key, and read standardised."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import zarr
from torch import nn

from data_modules.store.latents import LatentStore, piece_of, wait_for_latents, write_latents
from slams.assimilators.base import Archive
from slams.errors import UserError
from tests.data_modules.latent_windows import KEY, archive, space, write


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


def test_windows_of_fine_grids_are_encoded_fewer_at_a_time() -> None:
    assert piece_of(12 * 120 * 240) == 64
    # 66 MB each: eight are half a gigabyte.
    assert piece_of(16 * 721 * 1440) == 8
    assert piece_of(10**9) == 1


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
    with pytest.raises(UserError, match="missing or incomplete; run `slams train score`"):
        LatentStore(store, "train")
    write(store, space(), {"train": archive(70), "validation": archive(9, 1)}, KEY)
    assert torch.equal(LatentStore(store, "train").latents, expected)


def test_a_store_that_is_kept_asks_for_no_windows(store: Path) -> None:
    asked = []

    def windows() -> Iterator[tuple[str, list[Archive]]]:
        for name in ("train", "validation"):
            asked.append(name)
            yield name, [archive(3)]

    write_latents(store, space(), windows(), KEY)
    assert asked == []
    write_latents(store, space(), windows(), {**KEY, "vae": "run-2"})
    assert asked == ["train", "validation"]


def test_pieces_make_the_same_store_as_the_whole(store: Path, tmp_path: Path) -> None:
    """One piece at a time is asked for, and only when the one before is written."""
    whole, path = archive(150), tmp_path / "pieces" / "latents.zarr"
    held = []

    def pieces() -> Iterator[Archive]:
        for start in range(0, 150, 64):
            some = slice(start, start + 64)
            parts = whole.fields[some], whole.background[some], whole.time[some]
            if start:
                group = zarr.open_group(path, mode="r")
                held.append(group["train/latents"].shape[0])
            yield Archive(*parts)

    assert write_latents(
        path, space(), [("train", pieces()), ("validation", [archive(9, 1)])], KEY
    )
    assert held == [64, 128]
    write(store, space(), {"train": whole, "validation": archive(9, 1)}, {**KEY, "data": "b"})
    contents = [zarr.open_group(p, mode="r").attrs["content"] for p in (path, store)]
    assert contents[0] == contents[1]


def test_other_ranks_wait_for_rank_zero(tmp_path: Path) -> None:
    path = tmp_path / "vae" / "latents.zarr"
    with pytest.raises(UserError, match="rank zero has not written it within 0 s"):
        wait_for_latents(path, KEY, patience=0.0, interval=0.0)
    seen = []

    def wait() -> None:
        wait_for_latents(path, KEY, patience=60, interval=0.01)
        seen.append(len(LatentStore(path, "train")))

    waiting = threading.Thread(target=wait)
    waiting.start()
    # A store of another VAE does not end the wait.
    splits = {"train": archive(8), "validation": archive(3, 1)}
    write(path, space(), splits, {**KEY, "vae": "run-0"})
    assert seen == []
    write(path, space(), {**splits, "train": archive(12)}, KEY)
    waiting.join(timeout=60)
    assert seen == [12]


def test_departures_are_those_from_backgrounds_of_the_usual_age(tmp_path: Path) -> None:
    """Of every window, or of some of them; older backgrounds do not count."""
    path = tmp_path / "latents.zarr"
    parts = {"train": archive(70), "validation": archive(9, 1), "train_lag_5": archive(70, 2)}
    write(path, space(), parts, KEY)
    train = LatentStore(path, "train", ages={5: 2.5})
    assert len(train.latents) == 140
    departures = (train.latents - train.background)[:70].double()
    expected = departures.square().mean(dim=(0, 1, 3, 4)).sqrt().float()
    torch.testing.assert_close(train.departure_sd(), expected)
    some = departures[[0, 23, 46, 69]].square().mean(dim=(0, 1, 3, 4)).sqrt().float()
    torch.testing.assert_close(train.departure_sd(windows=4), some)
