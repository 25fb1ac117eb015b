"""The estimate of host memory, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data_modules import host_memory as room
from slams.errors import UserError
from slams.stages.data import multimodal, reanalysis

DAY = 4 * 4 * 12 * 24


@pytest.fixture(autouse=True)
def fixed(monkeypatch):
    monkeypatch.setattr(room, "resident_memory", lambda: 1000)
    monkeypatch.setattr(room, "available_memory", lambda: 10**9)
    monkeypatch.setattr(room.torch.cuda, "is_available", lambda: False)


def parts(config, batch=8, make=reanalysis, **stage):
    return dict(room.host_memory(make(config), batch, **stage).parts)


def test_parts_by_hand(tiny_config):
    def with_data(**data):
        return replace(tiny_config, data=replace(tiny_config.data, **data))

    found = parts(with_data(window=3, ahead=2))
    assert found == {
        "program": 1000,
        "cache": 110 * DAY,
        "batches": 4 * 8 * 3 * DAY,
        "pinned": 0,
        "archive": 0,
    }
    found = parts(with_data(num_workers=3, ahead=2), archive=10, background=True)
    assert (found["program"], found["cache"]) == (4000, 0)
    assert found["batches"] == 7 * 8 * DAY
    assert found["archive"] == 10 * 2 * (DAY + DAY // 4)
    assert parts(with_data(cache="mmap", ahead=0))["batches"] == 8 * DAY
    assert parts(with_data(cache="mmap"))["cache"] == 0
    # Damped persistence comes with one earlier day.
    assert parts(with_data(ahead=0), make=multimodal)["batches"] == 8 * 2 * DAY
    assert parts(tiny_config, ranks=2)["cache"] == 2 * 110 * DAY


def test_it_says_when_it_is_too_much(tiny_config, monkeypatch):
    fits = str(room.host_memory(reanalysis(tiny_config), 8))
    assert fits.startswith("host memory: about 0.00 GB (program 0.00, cache 0.00")
    assert fits.endswith("of 1.00 GB available")
    monkeypatch.setattr(room, "available_memory", lambda: 10)
    assert "data.cache=mmap" in str(room.host_memory(reanalysis(tiny_config), 8))


def test_latents_are_counted_and_too_little_is_refused(tiny_config, monkeypatch):
    found = room.host_memory(reanalysis(tiny_config), 8, latents=10**8, stage="train score")
    assert found.parts["latents"] == 4 * 10**8
    found.check()
    monkeypatch.setattr(room, "available_memory", lambda: 10**8)
    scarce = room.host_memory(reanalysis(tiny_config), 8, latents=10**8, stage="train score")
    words = r"^train score needs about 0\.40 GB .* 0\.10 GB are available; latents .*score\.lags"
    with pytest.raises(UserError, match=words):
        scarce.check()
