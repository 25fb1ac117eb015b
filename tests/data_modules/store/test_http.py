"""A store over HTTP equals the store on the disk; temporary failures are retried."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace

import google_crc32c
import numpy as np
import pytest
import torch

from data_modules.store import files as store_files
from data_modules.store.files import HttpFiles
from data_modules.store.training_store import TrainingStore
from data_modules.stream.field_cache import map_fields
from slams.errors import UserError
from slams.stages.data import reanalysis
from tests.data_modules.http_server import Site, serve

FIELDS = "fields/c/0/0/0/0"


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """Record the pauses before further attempts, and skip them."""
    noted: list[float] = []
    monkeypatch.setattr(store_files, "_wait", noted.append)
    return noted


@pytest.fixture
def site(tiny_prepared) -> Iterator[Site]:
    with serve(tiny_prepared) as running:
        yield running


def test_it_gives_what_the_disk_gives(site, tiny_prepared):
    here, away = TrainingStore.open(tiny_prepared), TrainingStore.open(site.url + "/")
    assert away.path == site.url
    assert away.fingerprint == here.fingerprint
    assert torch.equal(away.statistics.sd, here.statistics.sd)
    assert away.grid.fingerprint == here.grid.fingerprint
    assert not away.has("stations")
    site.requests.clear()
    np.testing.assert_array_equal(away.read(slice(60, 70)), here.read(slice(60, 70)))
    # Ten days in two files: the index of each file once, and one request for the days of each.
    assert len([k for k, _ in site.requests if "/c/" in k]) == 4
    site.requests.clear()
    away.read([3, 4, 5])
    assert len([k for k, _ in site.requests if "/c/" in k]) == 1


def test_training_batches_come_over_a_slow_line(site, tiny_config):
    site.latency, site.rate = 0.01, 2_000_000
    local = replace(tiny_config.data, cache="none", ahead=2)
    configs = [
        replace(tiny_config, data=replace(local, store=store)) for store in (local.store, site.url)
    ]
    here, away = (list(reanalysis(c).train_dataloader()) for c in configs)
    assert len(here) == len(away) == 8
    for one, other in zip(here, away, strict=True):
        assert torch.equal(one.fields, other.fields)
        assert torch.equal(one.case, other.case)


@pytest.mark.parametrize("fault", ["cut", "drop", 503, 429, 500])
def test_what_fails_for_a_moment_is_asked_for_again(site, tiny_prepared, pauses, fault):
    away = TrainingStore.open(site.url)
    site.fault = lambda key, before: fault if key == FIELDS and before < 3 else ""
    expected = TrainingStore.open(tiny_prepared).read([8])
    np.testing.assert_array_equal(away.read([8]), expected)
    assert pauses == [0.5, 1.0, 2.0]  # before the index came; the chunk came at once


def test_metadata_are_asked_for_again_too(site, pauses):
    site.fault = lambda key, before: 503 if before == 0 else ""
    assert TrainingStore.open(site.url).statistics.sd.isfinite().all()
    assert set(pauses) == {0.5}


@pytest.mark.parametrize(
    ("fault", "reason"), [("cut", "the connection was lost"), (503, "HTTP 503")]
)
def test_what_fails_for_good_ends_in_one_sentence(site, pauses, fault, reason):
    away = TrainingStore.open(site.url)
    site.fault = lambda key, before: fault if key == FIELDS else ""
    with pytest.raises(UserError) as refusal:
        away.read([8])
    message = str(refusal.value)
    assert message.startswith(f"{site.url}/{FIELDS} cannot be read: {reason}")
    assert "6 attempts" in message
    assert "\n" not in message
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_server_that_is_silent_counts_as_failed(site, pauses):
    site.latency = 0.6
    files = HttpFiles(site.url, attempts=2, timeout=0.2)
    with pytest.raises(UserError, match="timeout while reading in the last of 2 attempts"):
        files.read(FIELDS, 0, 10)


@pytest.mark.parametrize("missing", [FIELDS, "statistics/sd/c/0/0/0", "time/c/0"])
def test_a_missing_chunk_is_never_read_as_missing_values(site, missing):
    site.fault = lambda key, before: 404 if key == missing else ""

    def read_all() -> None:
        store = TrainingStore.open(site.url)
        assert store.statistics is not None
        store.read([8])

    with pytest.raises(UserError) as refusal:
        read_all()
    assert missing.split("/")[0] in str(refusal.value)
    assert "missing" in str(refusal.value)


def test_a_chunk_that_was_never_written_is_no_missing_value(tiny_prepared, tmp_path):
    copy = shutil.copytree(tiny_prepared, tmp_path / "store.zarr")
    file = copy / FIELDS
    data = bytearray(file.read_bytes())
    place = len(data) - (16 * 64 + 4) + 16 * 8
    data[place : place + 16] = b"\xff" * 16
    data[-4:] = google_crc32c.value(bytes(data[-(16 * 64 + 4) : -4])).to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(UserError, match="fields of 2001-01-09 cannot be read"):
        TrainingStore.open(copy).read(slice(5, 15))


@pytest.mark.parametrize(("fault", "said"), [(403, "HTTP 403"), ("whole", "only whole files")])
def test_what_no_further_attempt_would_change_is_refused_at_once(site, pauses, fault, said):
    away = TrainingStore.open(site.url)
    site.fault = lambda key, before: fault if key == FIELDS else ""
    with pytest.raises(UserError, match=said):
        away.read([8])
    assert pauses == []


def test_no_store_at_an_address(site):
    with pytest.raises(UserError, match="is not a training store"):
        TrainingStore.open(site.url + "/nothing")


def test_a_store_that_is_far_away_is_kept_on_the_disk(site, tiny_prepared, tmp_path):
    mapped = map_fields(TrainingStore.open(site.url), tmp_path)
    site.requests.clear()
    again = map_fields(TrainingStore.open(site.url), tmp_path)
    assert not any("fields/c" in key for key, _ in site.requests)
    assert again.path == mapped.path
    np.testing.assert_array_equal(
        again.fields, TrainingStore.open(tiny_prepared).read(slice(None))
    )


def test_workers_open_connections_of_their_own(site, tiny_config):
    data = replace(tiny_config.data, store=site.url, cache="none", num_workers=2)
    loader = reanalysis(replace(tiny_config, data=data)).train_dataloader()
    assert len(list(loader)) == 8
