"""What only the data can tell: stores, sources, chunks, splits and missing values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from slams.cli.main import main
from tests.bad_input.conftest import Refused, listing

NEW = ("experiment=new", "pretrained_experiment=tiny")
FIRST_SHARD = "store.zarr/fields/c/0/0/0/0"  # 64 days: of training, all but six
SECOND_SHARD = "store.zarr/fields/c/1/0/0/0"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put(store: str, name: str, index: tuple[int, ...], value: float) -> None:
    zarr.open_group(store, mode="r+")[name][index] = value


@pytest.mark.parametrize("verb", ["train vae", "train score", "assimilate"])
def test_a_store_without_the_asked_level(refused: Refused, root: Path, verb: str) -> None:
    channels = "temperature@850,temperature@300,outgoing_longwave_radiation"
    sentence = refused(verb, f"data.channels=[{channels}]", "resume=overwrite")
    assert "'temperature@300' is not in training store store.zarr" in sentence
    assert "found levels 850, 500 hPa of temperature" in sentence


def test_a_source_without_the_asked_level(refused: Refused) -> None:
    channels = "temperature@850,temperature@300,outgoing_longwave_radiation"
    sentence = refused("prepare", "data.store=new.zarr", f"data.channels=[{channels}]")
    assert "level 300 hPa of temperature is missing; found 850, 500 hPa" in sentence


@pytest.mark.parametrize(
    ("verb", "split"),
    [
        ("prepare", "train"),
        ("prepare", "validation"),
        ("train vae", "validation"),
        ("train score", "validation"),
        ("assimilate", "test"),
    ],
)
def test_a_split_without_data(refused: Refused, verb: str, split: str) -> None:
    words = [f"data.splits.{split}=[2011-01-01,2011-02-01]", "resume=overwrite"]
    sentence = refused(verb, *words, *(["data.store=new.zarr"] if verb == "prepare" else []))
    assert f"data.splits.{split}" in sentence
    assert "no data from 2011-01-01 to 2011-02-01; it has 2001-01-01 to 2001-04-20" in sentence


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_missing_value_in_a_source(refused: Refused, value: float) -> None:
    put("nature.zarr", "temperature", (20, 0, 3, 3), value)
    sentence = refused("prepare", "data.store=new.zarr")
    assert "temperature@850 of 2001-01-21, a training day, has 1 missing values" in sentence


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("train vae", ["experiment=new"]),
        ("train vae", ["experiment=new", "data.cache=none"]),
        ("train score", [*NEW]),
        ("assimilate", [*NEW]),
    ],
)
def test_a_missing_value_in_a_training_field(
    refused: Refused, verb: str, words: list[str]
) -> None:
    put("store.zarr", "fields", (20, 0, 3, 3), np.nan)
    sentence = refused(verb, *words)
    assert "temperature@850 of 2001-01-21, a training day, has missing values" in sentence
    assert "data.source.gaps" in sentence


@pytest.mark.parametrize("resume", ["auto", "overwrite"])
def test_a_truncated_chunk_of_the_source(refused: Refused, root: Path, resume: str) -> None:
    cut(root / "nature.zarr/temperature/c/0/0/0/0")
    # A store that is there stays, and its source is read only where it is to be written again.
    store = "new.zarr" if resume == "auto" else "store.zarr"
    sentence = refused("prepare", f"data.store={store}", f"resume={resume}")
    assert "source nature.zarr: temperature between 2001-01-01 and" in sentence
    assert "truncated or corrupt" in sentence


@pytest.mark.parametrize(
    ("verb", "file", "words"),
    [
        ("train vae", FIRST_SHARD, ["experiment=new"]),
        ("train vae", FIRST_SHARD, ["experiment=new", "data.cache=none"]),
        ("train vae", FIRST_SHARD, ["data.cache=none", "resume=overwrite"]),
        ("train score", FIRST_SHARD, [*NEW]),
        ("assimilate", SECOND_SHARD, [*NEW]),
        ("assimilate", SECOND_SHARD, [*NEW, "data.cache=none"]),
    ],
)
def test_a_truncated_chunk_of_the_store(
    refused: Refused, root: Path, verb: str, file: str, words: list[str]
) -> None:
    cut(root / file)
    sentence = refused(verb, *words)
    assert f"file {file.removeprefix('store.zarr/')} is truncated or corrupt" in sentence
    assert "fields of 2001-0" in sentence
    assert "`slams prepare`" in sentence


def remove(path: Path) -> None:
    path.unlink()


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(8))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("file", "damage", "parts"),
    [
        (FIRST_SHARD, remove, ["fields/c/0/0/0/0", "2001-01-01", "missing"]),
        (FIRST_SHARD, empty, ["fields/c/0/0/0/0", "2001-01-01", "is empty"]),
        ("store.zarr/fields/zarr.json", cut, ["fields/zarr.json is truncated"]),
        ("store.zarr/zarr.json", cut, ["store.zarr is not a training store"]),
        # Zarr would read these as zeros.
        ("store.zarr/time/c/0", remove, ["time cannot be read"]),
        ("store.zarr/latitude/c/0", remove, ["latitude cannot be read"]),
        ("store.zarr/statistics/sd/c/0/0/0", remove, ["statistics/sd cannot be read"]),
        ("store.zarr/statistics/sd/c/0/0/0", cut, ["statistics/sd cannot be read"]),
        # Blosc would not notice: it does not know how long a chunk is, and reads beyond a cut one.
        ("store.zarr/statistics/sd/c/0/0/0", lengthen, ["statistics/sd cannot be read"]),
    ],
)
def test_a_damaged_store(
    refused: Refused, root: Path, file: str, damage: Callable[[Path], None], parts: list[str]
) -> None:
    damage(root / file)
    sentence = refused("train vae", "experiment=new")
    for part in [*parts, "`slams prepare`"]:
        assert part in sentence


@pytest.mark.parametrize("name", ["channels", "fingerprint", "recipe", "statistics_days"])
@pytest.mark.parametrize("verb", ["prepare", "train vae"])
def test_a_store_that_lost_an_attribute(
    refused: Refused, root: Path, verb: str, name: str
) -> None:
    file = root / "store.zarr/zarr.json"
    metadata = json.loads(file.read_text())
    del metadata["attributes"][name]
    file.write_text(json.dumps(metadata))
    assert f"attribute {name!r} is missing" in refused(verb, "experiment=new")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["data.store=runs"], ["runs is not a training store and is not overwritten"]),
        (["data.store=recipe.yaml"], ["recipe.yaml is not a training store"]),
        (["data.store=nature.zarr"], ["would be overwritten, but data.source.path reads from it"]),
        (
            ["data.store=store.zarr", "data.statistics_from=store.zarr"],
            ["would be overwritten, but data.statistics_from reads from it"],
        ),
    ],
)
def test_only_a_training_store_is_overwritten(
    refused: Refused, words: list[str], parts: list[str]
) -> None:
    sentence = refused("prepare", "resume=overwrite", *words)
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["data.source.kind=noaa_psl"], "nature.zarr is a directory, expected a NetCDF file"),
        (
            ["data.source.kind=noaa_psl", "data.source.path=recipe.yaml"],
            "recipe.yaml cannot be read as NetCDF",
        ),
        (["data.source.path=recipe.yaml"], "recipe.yaml cannot be opened as Zarr"),
        (["data.source.grid=recipe.yaml"], "recipe.yaml has no latitude and longitude"),
        (["data.source.grid=3by4"], "expected `native`"),
        (["data.harmonics=40"], "data.harmonics, 40 annual harmonics, would be wrong"),
        (
            ["data.statistics_from=store.zarr", "data.source.grid=6x12"],
            "store.zarr has a grid of (12, 24), the store to prepare one of (6, 12)",
        ),
    ],
)
def test_sources_and_grids_that_do_not_fit(refused: Refused, words: list[str], part: str) -> None:
    assert part in refused("prepare", "data.store=new.zarr", *words)


def test_a_background_file_on_another_grid(refused: Refused) -> None:
    coarse = ["data.store=coarse.zarr", "data.source.grid=6x12"]
    assert main(["prepare", "recipe.yaml", *coarse]) == 0
    words = ["background.kind=file", "background.path=coarse.zarr"]
    sentence = refused("assimilate", *NEW, *words)
    assert "background.path: coarse.zarr has a grid of (6, 12)" in sentence


def test_a_preparation_in_progress_is_left_alone(refused: Refused, root: Path) -> None:
    import filelock

    (root / "new.zarr.partial").mkdir()
    with filelock.FileLock(root / ".new.zarr.lock"):
        assert "new.zarr is in use by another" in refused("prepare", "data.store=new.zarr")


def test_damaged_latents_are_encoded_again(root: Path) -> None:
    before = listing(root / "runs/tiny/vae/latents_2.zarr")
    chunks = root / "runs/tiny/vae/latents_2.zarr/train/latents/c"
    expected = [p.read_bytes() for p in sorted(chunks.rglob("0")) if p.is_file()]
    shutil.rmtree(chunks)  # Zarr would read zeros
    assert main(["train", "score", "recipe.yaml", "resume=overwrite"]) == 0
    assert [p.read_bytes() for p in sorted(chunks.rglob("0")) if p.is_file()] == expected
    assert set(listing(root / "runs/tiny/vae/latents_2.zarr")) == set(before)
