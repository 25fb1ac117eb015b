"""Packed fields: exact integers, a bounded rounding, and the same archive from store and copy."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from data_modules.store.packed_store import write_packed
from data_modules.store.packing import STEP, pack, unpack
from data_modules.store.training_store import TrainingStore
from slams.config.schema import Config
from slams.errors import UserError
from slams.stages.data import trajectories
from tests.data_modules.store.rounding import rounded


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, tiny_prepared: Path) -> Path:
    """Return a packed copy of every day of the store."""
    path = tmp_path_factory.mktemp("packed") / "store.zarr"
    store = TrainingStore.open(tiny_prepared)
    write_packed(path, store, store.time, store.attributes["statistics_days"])
    return path


def test_rounding_is_bounded_and_missing_values_stay_missing() -> None:
    values = 30 * np.random.default_rng(0).normal(size=(3, 2, 8, 9)).astype(np.float32)
    values[0, 0, 1, 2] = values[1, 0] = np.nan
    found = unpack(pack(values))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    assert np.nanmax(np.abs(found - values)) <= STEP / 2
    np.testing.assert_array_equal(pack(found), pack(values))


def test_values_out_of_range_are_clipped_and_do_not_wrap() -> None:
    found = unpack(pack(np.array([[1e6, -1e6, 0.0]], dtype=np.float32)))
    np.testing.assert_allclose(found, [[32767 * STEP, -32767 * STEP, 0.0]])


def test_a_packed_copy_reads_as_the_store_it_was_made_of(
    packed: Path, tiny_prepared: Path
) -> None:
    store, copy = TrainingStore.open(tiny_prepared), TrainingStore.open(packed)
    assert copy.channels == store.channels
    assert copy.grid == store.grid
    assert torch.equal(copy.statistics.persistence, store.statistics.persistence)
    time = torch.from_numpy(store.time)[:, None]
    expected = torch.from_numpy(store.read(slice(None)))[:, None]
    expected = rounded(expected, time, store.normaliser())[:, 0]
    np.testing.assert_array_equal(copy.read(slice(None)), expected.numpy())
    some = copy.select([store.channels[2].name])
    np.testing.assert_array_equal(some.read([5, 3]), copy.read([5, 3])[:, [2]])


def test_rounding_twice_changes_nothing(tiny_prepared: Path) -> None:
    """Precipitation included, whose rounded values may lie below zero."""
    store = TrainingStore.open(tiny_prepared)
    time = torch.from_numpy(store.time[:20])[:, None]
    fields = torch.from_numpy(store.read(slice(0, 20)))[:, None]
    once = rounded(fields, time, store.normaliser())
    assert not torch.equal(once, fields)
    assert torch.equal(rounded(once, time, store.normaliser()), once)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_archive_of_a_copy_is_that_of_its_store(
    tiny_config: Config, packed: Path, split: str
) -> None:
    config = replace(tiny_config, observations=replace(tiny_config.observations, use=[]))
    found = trajectories(config, TrainingStore.open(packed)).archive(split=split, as_packed=True)
    expected = trajectories(config).archive(split=split, as_packed=True)
    assert torch.equal(found.fields, expected.fields)
    assert torch.equal(found.background, expected.background)
    assert torch.equal(found.time, expected.time)


def test_a_packed_store_is_not_taken_for_a_plain_one(packed: Path, tmp_path: Path) -> None:
    """Nor the reverse: its integers would be read as temperatures."""
    path = tmp_path / "store.zarr"
    shutil.copytree(packed, path)
    group = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    assert group.attrs["slams_store"] == 2
    group.attrs["slams_store"] = 1
    with pytest.raises(UserError, match="found version 1, expected 2"):
        TrainingStore.open(path)


def test_a_missing_file_is_not_read_as_the_climatology(packed: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.zarr"
    shutil.copytree(packed, path)
    store = TrainingStore.open(path)
    (path / "fields" / "c" / "1" / "0" / "0" / "0").unlink()
    store.read(slice(0, 64))
    with pytest.raises(UserError, match="fields/c/1/0/0/0 is missing"):
        store.read([70])
