"""A flipped bit is noticed when a file is opened, and so is a directory in its place."""

from __future__ import annotations

import errno
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from data_modules.store import manifest
from data_modules.store.checks import read_checksums
from data_modules.store.training_store import TrainingStore
from data_modules.stream.field_cache import map_fields, verify_caches
from slams.cli.main import main
from slams.errors import UserError
from slams.runtime.failures import explain_failure
from slams.runtime.files import load_tensors, read_json, read_table, write_table
from tests.bad_input.conftest import Refused

SMALL = ("time", "latitude", "longitude", "statistics/sd", "statistics/harmonics")
SMALL += ("statistics/lags", "statistics/persistence", "statistics/persistence_variance")
NEW = ("experiment=new", "pretrained_experiment=tiny")


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", SMALL)
def test_another_value_in_a_small_array(tiny_prepared: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(tiny_prepared, tmp_path / "store.zarr")
    array = zarr.open_group(str(copy), mode="r+")[name]
    values = np.array(array[...])
    bits = values.reshape(-1).view(np.uint8)
    bits[0] ^= 1  # the lowest bit of the first number
    array[...] = values
    with pytest.raises(UserError, match=f"{name} has changed since it was prepared.*overwrite"):
        TrainingStore.open(copy).normaliser()
    with pytest.raises(UserError, match=f"{name} has changed"):
        manifest.verify(copy)
    # Of a version before checksums: nothing tells.
    (copy / "fields/manifest.json").unlink()
    TrainingStore.open(copy).normaliser()


def test_other_attributes(tiny_prepared: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_prepared, tmp_path / "store.zarr")
    text = (copy / "zarr.json").read_text()
    (copy / "zarr.json").write_text(text.replace("temperature@850", "temperature@851"))
    with pytest.raises(UserError, match=r"attributes \(zarr.json\) have changed"):
        TrainingStore.open(copy)
    group = zarr.open_group(str(copy), mode="r+")
    group.attrs.put({k: v for k, v in group.attrs.items() if k != "digest"})
    TrainingStore.open(copy)  # of a version before digests


def test_every_array_of_a_store_has_checksums(tiny_prepared: Path) -> None:
    known = read_checksums(tiny_prepared)
    group = zarr.open_group(str(tiny_prepared), mode="r")
    arrays = {name for name, x in group.members(max_depth=None) if isinstance(x, zarr.Array)}
    assert set(known) == arrays - {"fields"}
    assert read_checksums(tiny_prepared.parent) is None


def test_verification_says_what_is_whole(root: Path, capsys) -> None:
    map_fields(TrainingStore.open("store.zarr"), Path("store.zarr.cache"))
    assert main(["prepare", "recipe.yaml", "--verify"]) == 0
    said = capsys.readouterr().out
    assert "2 files of fields, time, latitude, longitude" in said
    assert "statistics/sd, attributes and fingerprint, " in said
    (cache, *_) = Path("store.zarr.cache").glob("*.npy")
    count = verify_caches(Path("store.zarr"))
    flip(cache, cache.stat().st_size // 2)
    with pytest.raises(UserError, match=f"cache {cache}: it has changed"):
        verify_caches(Path("store.zarr"))
    assert count >= 1


def test_a_flipped_bit_in_a_checkpoint(refused: Refused, root: Path) -> None:
    path = root / "runs/tiny/vae/checkpoints/best.ckpt"
    with zipfile.ZipFile(path) as archive:
        records = {i.filename: i for i in archive.infolist() if "/data/" in i.filename}
    largest = max(records.values(), key=lambda i: i.file_size)
    flip(path, largest.header_offset + largest.file_size // 2)
    with pytest.raises(zipfile.BadZipFile, match="checksum"):
        load_tensors(path)
    sentence = refused("train score", *NEW)
    assert "checkpoint runs/tiny/vae/checkpoints/best.ckpt: cannot be read" in sentence
    assert "train that stage again" in sentence


def test_a_flipped_bit_in_a_table(tmp_path: Path) -> None:
    table = pd.DataFrame({"value": np.arange(1000.0), "name": ["x"] * 1000})
    write_table(table, tmp_path / "new.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "new.parquet"), table)
    flip(tmp_path / "new.parquet", 2000)
    with pytest.raises(OSError, match=r"(?i)crc"):
        read_table(tmp_path / "new.parquet")
    table.to_parquet(tmp_path / "old.parquet")  # as before: without checksums
    pd.testing.assert_frame_equal(read_table(tmp_path / "old.parquet"), table)


@pytest.mark.parametrize("name", ["statistics/sd", "surface_elevation", "time"])
def test_metadata_that_are_no_json(tiny_prepared: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(tiny_prepared, tmp_path / "store.zarr")
    (copy / name).mkdir(exist_ok=True)
    (copy / name / "zarr.json").write_text("{")
    with pytest.raises(UserError, match=f"{name}"):
        [getattr(TrainingStore.open(copy), what) for what in ("elevation", "statistics")]
    with pytest.raises(UserError, match=r"cannot be read|corrupt"):
        manifest.verify(copy)


def in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        ("train vae", "runs/tiny/vae/run.json", ()),
        ("train score", "runs/tiny/vae/run.json", NEW),
        ("train vae", "store.zarr/fields/manifest.json", ("experiment=new",)),
        ("prepare --verify", "store.zarr/fields/manifest.json", ()),
        ("report", "runs/tiny/assimilation/results.parquet", ()),
        ("train score", "runs/tiny/vae/checkpoints/best.ckpt", NEW),
        ("train vae", "store.zarr/statistics/sd/c/0/0/0", ("experiment=new",)),
    ],
)
def test_a_directory_in_the_place_of_a_file(
    refused: Refused, root: Path, command: str, name: str, words: tuple[str, ...]
) -> None:
    in_its_place(root / name)
    verb, *options = command.split(" --")
    sentence = refused(verb, *words, *(f"--{option}" for option in options))
    assert name.partition("/c/")[0].removeprefix("store.zarr/") in sentence


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sweep.json", None),
        ("sweep.json", "{"),
        ("sweep.json", '{"name": "x", "recipe": "y", "settings": [1]}'),
        ("sweep.json", '{"name": "x", "recipe": "y", "settings": {"a": 1}}'),
        ("run.json", None),
        ("run.json", "[" * 100_000),
        ("run.json", "7"),
        ("run.json", '{"layout": 1, "run_id": 1, "stage": "vae", "experiment": "x"}'),
        ("results.parquet", None),
        ("cases.parquet", ""),
    ],
)
def test_what_compare_reads(root: Path, name: str, content: str | None, capsys) -> None:
    path = root / "runs/tiny/assimilation" / name
    path.unlink(missing_ok=True)
    path.mkdir() if content is None else path.write_text(content)
    capsys.readouterr()
    assert main(["compare", "runs/tiny/assimilation"]) == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert f"runs/tiny/assimilation/{name}" in sentence


def test_a_cache_that_is_a_directory_is_named(tiny_prepared: Path, tmp_path: Path) -> None:
    store = TrainingStore.open(tiny_prepared)
    in_its_place(map_fields(store, tmp_path).path)
    with pytest.raises(UserError, match="is a directory, expected a file"):
        map_fields(store, tmp_path)


def test_a_store_that_has_gone_is_named(tiny_prepared: Path, tmp_path: Path) -> None:
    store = TrainingStore.open(shutil.copytree(tiny_prepared, tmp_path / "store.zarr"))
    store.read(slice(0, 3))
    shutil.move(tmp_path / "store.zarr", tmp_path / "moved.zarr")
    with pytest.raises(UserError, match="moved or removed while in use"):
        store.read(slice(64, 67))


def test_json_is_read_as_an_object_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"a": 1}))
    assert read_json(path, "remove it") == {"a": 1}
    for content in (b"", b"[1]", b"\xff\xfe", b"{" * 10_000, b'{"a": '):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is damaged, it holds no JSON object; remove it"):
            read_json(path, "remove it")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (IsADirectoryError(errno.EISDIR, "", "run.json"), "run.json is a directory, expected a"),
        (OSError(errno.EMFILE, "", "x.npy"), "too many open files: this process may open"),
        (OSError(errno.EIO, "", "x.npy"), "input/output error while using x.npy"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "the memory that this process may use"),
        (MemoryError(), "the memory that this process may use is exhausted (MemoryError)"),
        (RuntimeError("can't start new thread"), "exhausted (can't start new thread)"),
    ],
)
def test_limits_of_the_machine_are_worded(error: Exception, sentence: str) -> None:
    assert sentence in explain_failure(error)
    assert explain_failure(RuntimeError("anything else")) is None
