"""The training store: reading, selecting, pickling, and every refusal."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from data_modules.store.training_store import TrainingStore
from slams.errors import UserError
from tests.synthetic import CHANNELS


@pytest.fixture
def damaged(tmp_path: Path, tiny_prepared: Path) -> Path:
    """Return a copy of the store that a test may damage."""
    path = tmp_path / "damaged.zarr"
    shutil.copytree(tiny_prepared, path)
    return path


def test_reading_keeps_the_order_asked_for(tiny_prepared):
    store = TrainingStore.open(tiny_prepared)
    everything = store.read(slice(None))
    assert everything.shape == (110, 4, 12, 24)
    assert everything.dtype == np.float32
    index = [70, 3, 4, 5, 70, 0, 64, 63]
    np.testing.assert_array_equal(store.read(index), everything[index])
    np.testing.assert_array_equal(store.read(slice(60, 70)), everything[60:70])
    assert store.read([]).shape == (0, 4, 12, 24)


def test_channels_come_in_the_order_asked_for(tiny_prepared):
    everything = TrainingStore.open(tiny_prepared)
    some = TrainingStore.open(tiny_prepared, [CHANNELS[3], CHANNELS[0]])
    assert [c.name for c in some.channels] == [CHANNELS[3], CHANNELS[0]]
    np.testing.assert_array_equal(some.read([1]), everything.read([1])[:, [3, 0]])
    assert torch.equal(some.statistics.sd, everything.statistics.sd[[3, 0]])
    assert torch.equal(some.normaliser().sd, some.statistics.sd)
    again = some.select([CHANNELS[0]])
    np.testing.assert_array_equal(again.read([1]), everything.read([1])[:, [0]])
    assert torch.equal(again.statistics.persistence, everything.statistics.persistence[:, [0]])


def test_pickled_store_holds_no_open_array(tiny_prepared):
    store = TrainingStore.open(tiny_prepared)
    values = store.read([2])
    assert store.statistics is not None
    state = store.__getstate__()
    assert not any(isinstance(v, zarr.Group | zarr.Array) for v in state.values())
    assert "statistics" not in state
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.read([2]), values)
    assert copy.fingerprint == store.fingerprint


def test_missing_store_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"no such directory; run `slams prepare`"):
        TrainingStore.open(tmp_path / "none.zarr")


def test_other_directories_are_no_stores(tmp_path, tiny_source):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="not a training store"):
        TrainingStore.open(tmp_path / "empty")
    with pytest.raises(UserError, match="attribute slams_store is missing"):
        TrainingStore.open(tiny_source)


def test_unfinished_store_is_refused(damaged):
    zarr.open_group(str(damaged), mode="a").attrs["status"] = "preparing"
    with pytest.raises(UserError, match="not finished"):
        TrainingStore.open(damaged)


def test_store_of_another_version_is_refused(damaged):
    zarr.open_group(str(damaged), mode="a").attrs["slams_store"] = 99
    with pytest.raises(UserError, match="found version 99, expected 1"):
        TrainingStore.open(damaged)


def test_level_not_there_is_refused_with_those_found(tiny_prepared):
    with pytest.raises(UserError, match=r"'temperature@300'.*levels 850, 500 hPa"):
        TrainingStore.open(tiny_prepared, ["temperature@850", "temperature@300"])
    with pytest.raises(UserError, match=r"'2m_temperature'.*channels temperature@850"):
        TrainingStore.open(tiny_prepared, ["2m_temperature"])


def test_truncated_file_is_named_with_its_date(damaged):
    file = damaged / "fields" / "c" / "1" / "0" / "0" / "0"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    store = TrainingStore.open(damaged)
    assert np.isfinite(store.read(slice(0, 64))).all()
    message = r"fields of 2001-03-06 cannot be read, file fields/c/1/0/0/0 is truncated"
    with pytest.raises(UserError, match=message):
        store.read(slice(None))


def test_changed_byte_is_found_by_its_checksum(damaged):
    file = damaged / "fields" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(file.read_bytes())
    content[100] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"of 2001-.*file fields/c/0/0/0/0 is truncated or corr"):
        TrainingStore.open(damaged).read(slice(0, 64))


def test_lost_file_is_not_read_as_missing_values(damaged):
    (damaged / "fields" / "c" / "1" / "0" / "0" / "0").unlink()
    with pytest.raises(UserError, match=r"file fields/c/1/0/0/0 \(fields from 2001-03-06\)"):
        TrainingStore.open(damaged)


def test_corrupt_statistics_are_refused(damaged):
    file = next(f for f in (damaged / "statistics" / "sd" / "c").rglob("*") if f.is_file())
    file.write_bytes(file.read_bytes()[:10])
    with pytest.raises(UserError, match="statistics/sd cannot be read"):
        _ = TrainingStore.open(damaged).statistics


def test_observations_not_there_are_refused(tiny_prepared):
    store = TrainingStore.open(tiny_prepared)
    assert not store.has("stations")
    with pytest.raises(UserError, match="no array 'stations'"):
        store.read_array("stations", [0])


def test_a_store_that_is_moved_before_it_is_read(damaged: Path) -> None:
    store = TrainingStore.open(damaged)
    damaged.rename(damaged.with_name("elsewhere.zarr"))
    with pytest.raises(UserError, match="moved or removed while in use"):
        store.read([0])
    with pytest.raises(UserError, match="moved or removed while in use"):
        store.read_runs([(0, np.empty((1, 4, 12, 24), np.float32))])
