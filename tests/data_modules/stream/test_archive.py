"""The packed archive is, to the bit, the archive of rounded fields in full precision."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import zarr

from data_modules.multimodal import MultimodalDataModule
from data_modules.store.checks import put_attributes
from slams.assimilators.base import Archive
from slams.assimilators.degraded_backgrounds import degrade
from slams.assimilators.windows import LazyWindows
from slams.config.schema import Config
from slams.fields import Window
from slams.stages.data import multimodal, trajectories
from slams.stages.sources import prepare
from tests.data_modules.store.rounding import rounded
from tests.synthetic import gappy_recipe

PARTS = ("fields", "background", "time", "known", "background_known")


@pytest.fixture(scope="module")
def gappy(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return a recipe whose OLR has gaps."""
    config = gappy_recipe(
        tmp_path_factory.mktemp("gaps"), (slice(10, 13), slice(0, 5)), (slice(40, 41), slice(None))
    )
    prepare(config)
    return config


def in_full(data: MultimodalDataModule, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Return the archive of fields that are rounded as they are read, as float32 tensors."""
    reader = data.archive_reader()
    read = reader.dataset.read

    def read_rounded(positions: list[int]) -> Window:
        window, normaliser = read(positions), reader.normaliser
        previous = window.previous
        if previous is not None:
            previous = rounded(previous, reader.provider.previous_days(window), normaliser)
        fields = rounded(window.fields, window.time, normaliser)
        return replace(window, fields=fields, previous=previous)

    with monkeypatch.context() as patch:
        patch.setattr(reader.dataset, "read", read_rounded)
        patch.setattr(data, "archive_reader", lambda *_: reader)
        return data.archive()


def assert_same(found: Archive, expected: Archive) -> None:
    for part in PARTS:
        one, other = getattr(found, part), getattr(expected, part)
        assert (one is None) == (other is None), part
        assert one is None or torch.equal(one, other), part


@pytest.mark.parametrize("kind", ["damped_persistence", "climatology"])
@pytest.mark.parametrize("window", [1, 2])
def test_nothing_is_lost(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch, kind: str, window: int
) -> None:
    background = replace(tiny_config.background, kind=kind)
    config = replace(tiny_config, background=background)
    config.data.window = window
    data = multimodal(config)
    found = data.archive(as_packed=True)
    assert isinstance(found.fields, LazyWindows)
    assert isinstance(found.background, LazyWindows)
    assert_same(found, in_full(data, monkeypatch))


def test_states_of_a_file_are_held_too(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "forecasts.zarr"
    shutil.copytree(tiny_config.data.store, path)
    group = zarr.open_group(str(path), mode="a")
    put_attributes(group, {**group.attrs, "fingerprint": "another"})
    values = group["fields"][:]
    values[:, 0] += 1.0
    group["fields"][:] = values
    background = replace(tiny_config.background, kind="file", path=str(path))
    data = multimodal(replace(tiny_config, background=background))
    found = data.archive(as_packed=True)
    assert float((found.background - found.fields)[:, 0, 0].min()) > 0
    assert_same(found, in_full(data, monkeypatch))


def test_gaps_stay_gaps(gappy: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    data = multimodal(gappy)
    found = data.archive(as_packed=True)
    assert not found.known.all()
    assert_same(found, in_full(data, monkeypatch))


def test_windows_of_any_index(tiny_config: Config) -> None:
    archive = multimodal(tiny_config).archive(as_packed=True)
    dense = archive.fields.dense()
    chosen = torch.tensor([5, 0, 5, 30])
    mask = torch.zeros(len(dense), dtype=torch.bool)
    mask[[1, 4]] = True
    for index in (chosen, mask, slice(3, 40, 7), slice(0, 0), -1, 2, (slice(None), 0)):
        assert torch.equal(archive.fields[index], dense[index])
    assert torch.equal(torch.stack(list(archive.fields)), dense)
    assert torch.equal(archive.fields - 1, dense - 1)
    assert torch.equal(dense - archive.background, dense - archive.background.dense())
    assert archive.fields.numel() == dense.numel()
    with pytest.raises(IndexError):
        archive.fields[len(dense)]


def test_backgrounds_of_analyses_are_mixed_when_asked_for(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = multimodal(tiny_config)
    found = degrade(data.archive(as_packed=True), 0.2)
    assert isinstance(found.background, LazyWindows)
    assert_same(found, degrade(in_full(data, monkeypatch), 0.2))


def test_each_day_is_held_once_in_two_bytes(tiny_config: Config) -> None:
    config = replace(tiny_config)
    config.data.window = 2
    archive = trajectories(config).archive(as_packed=True)
    (held,) = {
        id(part._days): part._days for part in (archive.fields, archive.background)
    }.values()
    assert held._values.dtype == torch.int16
    days = set(archive.time.flatten().tolist()) | set((archive.time[:, 0] - 2).tolist())
    assert len(held._values) == len(days)
