"""Preparations interrupted at any point, and extensions: what remains, and the result."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from data_modules.preparation import block_task, extension, unfinished
from data_modules.preparation import prepare as preparation
from data_modules.preparation.plan import Plan
from data_modules.store import manifest
from data_modules.store.manifest import verify
from data_modules.store.training_store import TrainingStore
from slams.cli.main import main
from slams.config.schema import Config
from slams.errors import UserError
from slams.stages.sources import prepare
from tests.synthetic import nature_run, tiny_recipe

# Points at which a preparation of two files is interrupted, and the files finished by then.
MOMENTS = {
    "coordinates": (unfinished, "create_steps", 0, 0),
    "first record": (block_task, "write_record", 0, 0),
    "second file": (block_task, "write_record", 1, 1),
    "statistics": (preparation, "write_statistics", 0, 2),
    "manifest": (preparation, "write_manifest", 0, 2),
    "attributes": (preparation, "content_digest", 0, 2),
    "complete": (preparation, "tidy", 0, 2),
    "name": (preparation, "take_place", 0, 0),
}


class Killed(BaseException):
    """Stand-in for SIGKILL, which no error handler catches."""


def contents(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def dies(function: Callable, calls: int) -> Callable:
    """Make a function that raises `Killed` when called, after some successful calls."""
    left = [calls]

    def dying(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return function(*arguments, **options)

    return dying


def kill_at(moment: str, recipe: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, calls, _ = MOMENTS[moment]
    with monkeypatch.context() as patch:
        patch.setattr(module, name, dies(getattr(module, name), calls))
        with pytest.raises(Killed):
            prepare(recipe)


def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the first step of every read of the source."""
    reads: list[int] = []
    read = Plan.read

    def counting(self: Plan, start: int, stop: int) -> np.ndarray:
        reads.append(start)
        return read(self, start, stop)

    monkeypatch.setattr(Plan, "read", counting)
    return reads


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    moment, tmp_path, tiny_source, tiny_prepared, monkeypatch
):
    recipe = tiny_recipe(tmp_path, tiny_source)
    kill_at(moment, recipe, monkeypatch)
    assert not Path(recipe.data.store).exists()
    if moment not in ("complete", "name"):
        partial = Path(recipe.data.store + ".partial")
        with pytest.raises(UserError, match=r"not finished|slams_store is missing"):
            TrainingStore.open(partial)
    reads = counted_reads(monkeypatch)
    prepare(recipe)
    assert contents(Path(recipe.data.store)) == contents(tiny_prepared)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.zarr"]
    finished = MOMENTS[moment][3]
    if moment in ("complete", "name"):
        assert reads == []
    elif finished:
        # Only files that were not finished are read from the source again.
        assert reads == [64 * i for i in range(finished, 2)]


def test_killed_three_times_on_the_way(tmp_path, tiny_source, tiny_prepared, monkeypatch):
    recipe = tiny_recipe(tmp_path, tiny_source)
    for moment in ("first record", "second file", "statistics"):
        kill_at(moment, recipe, monkeypatch)
    prepare(recipe)
    assert contents(Path(recipe.data.store)) == contents(tiny_prepared)


@pytest.mark.parametrize("damage", ["bytes", "size", "values"])
def test_a_finished_file_that_was_damaged_is_written_again(
    damage, tmp_path, tiny_source, tiny_prepared, monkeypatch
):
    recipe = tiny_recipe(tmp_path, tiny_source)
    kill_at("statistics", recipe, monkeypatch)
    partial = Path(recipe.data.store + ".partial")
    file, record = partial / "fields/c/0/0/0/0", partial / "fields/records/0.json"
    if damage == "values":  # a complete file, but not the one that was finished
        fields = zarr.open_group(str(partial), mode="r+")["fields"]
        fields[:64] = fields[:64] + 1
        noted = json.loads(record.read_text()) | {"size": file.stat().st_size}
        record.write_text(json.dumps(noted))
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content if damage == "bytes" else content[:-1])
    reads = counted_reads(monkeypatch)
    prepare(recipe)
    assert reads == [0]
    assert contents(Path(recipe.data.store)) == contents(tiny_prepared)


def test_what_is_finished_is_kept_when_the_source_fails_on_the_way(
    tmp_path, tiny_source, tiny_prepared, monkeypatch
):
    """The source may be readable again later; hours of work are not discarded."""
    recipe = tiny_recipe(tmp_path, tiny_source)
    read = Plan.read

    def fails(self: Plan, start: int, stop: int) -> np.ndarray:
        if start >= 64:
            raise UserError("source run.zarr: temperature cannot be read")
        return read(self, start, stop)

    with monkeypatch.context() as patch:
        patch.setattr(Plan, "read", fails)
        with pytest.raises(UserError, match=r"cannot be read; 1 finished files .* are kept in"):
            prepare(recipe)
    reads = counted_reads(monkeypatch)
    prepare(recipe)
    assert reads == [64]
    assert contents(Path(recipe.data.store)) == contents(tiny_prepared)


def test_too_little_memory_costs_nothing_that_is_finished(
    tmp_path, tiny_source, tiny_prepared, monkeypatch
):
    recipe = tiny_recipe(tmp_path, tiny_source)
    kill_at("statistics", recipe, monkeypatch)
    recipe.data.prepare.memory = "1 MB"
    with pytest.raises(UserError, match=r"data\.prepare\.memory: 1 MB is too little"):
        prepare(recipe)
    recipe.data.prepare.memory = "2 GB"
    reads = counted_reads(monkeypatch)
    prepare(recipe)
    assert reads == []
    assert contents(Path(recipe.data.store)) == contents(tiny_prepared)


def test_another_recipe_starts_over(tmp_path, tiny_source, monkeypatch, capsys):
    recipe = tiny_recipe(tmp_path, tiny_source)
    kill_at("statistics", recipe, monkeypatch)
    recipe.data.channels = recipe.data.channels[:2]
    recipe.observations.use = []
    prepare(recipe)
    assert "of a different store is removed" in capsys.readouterr().out
    assert len(TrainingStore.open(recipe.data.store).channels) == 2
    verify(recipe.data.store)


def longer(recipe: Config, last: str) -> Config:
    recipe.data.period = ["2001-01-01", last]
    return recipe


@pytest.fixture
def shorter(tmp_path: Path, tiny_source: Path) -> Config:
    """Prepare the first 102 of the run's 110 days; return the recipe."""
    recipe = longer(tiny_recipe(tmp_path, tiny_source), "2001-04-12")
    recipe.data.splits.test = ["2001-03-28", "2001-04-10"]
    prepare(recipe)
    return recipe


def test_period_takes_its_days_alone(shorter):
    store = TrainingStore.open(shorter.data.store)
    assert len(store.time) == 102
    shorter.data.period = ["2010-01-01", "2010-02-01"]
    shorter.resume = "overwrite"
    with pytest.raises(UserError, match=r"data\.period: the source has no data from 2010-01-01"):
        prepare(shorter)
    assert TrainingStore.open(shorter.data.store).fingerprint == store.fingerprint


def test_later_days_extend_a_store_to_the_one_prepared_at_once(
    shorter, tiny_prepared, monkeypatch
):
    path = Path(shorter.data.store)
    before = TrainingStore.open(path)
    full = path / "fields/c/0/0/0/0"
    inode, stamp = full.stat().st_ino, full.stat().st_mtime_ns
    reads = counted_reads(monkeypatch)
    prepare(longer(shorter, "2001-04-20"))
    after, at_once = TrainingStore.open(path), TrainingStore.open(tiny_prepared)
    assert after.fingerprint == at_once.fingerprint != before.fingerprint
    assert after.attributes["extended"] == [{"steps": 102, "fingerprint": before.fingerprint}]
    assert (full.stat().st_ino, full.stat().st_mtime_ns) == (inode, stamp)
    # Only the file that was not full.
    assert reads == [64]
    mine, other = contents(path), contents(tiny_prepared)
    assert {k: v for k, v in mine.items() if k != "zarr.json"} == {
        k: v for k, v in other.items() if k != "zarr.json"
    }
    verify(path)


@pytest.mark.parametrize("moment", ["first record", "statistics", "complete", "name"])
def test_killed_while_extending_the_old_store_stays(moment, shorter, tiny_prepared, monkeypatch):
    before = TrainingStore.open(shorter.data.store).fingerprint
    kill_at(moment, longer(shorter, "2001-04-20"), monkeypatch)
    assert TrainingStore.open(shorter.data.store).fingerprint == before
    verify(shorter.data.store)
    prepare(shorter)
    found = TrainingStore.open(shorter.data.store).fingerprint
    assert found == TrainingStore.open(tiny_prepared).fingerprint
    verify(shorter.data.store)


def test_killed_between_the_two_names_it_is_found_again(shorter, monkeypatch):
    """The old store has been renamed, the new one has not."""
    shutil.copytree(shorter.data.store, shorter.data.store + ".kept")
    kill_at("name", longer(shorter, "2001-04-20"), monkeypatch)
    Path(shorter.data.store).rename(shorter.data.store + ".old")
    prepare(shorter)
    assert len(TrainingStore.open(shorter.data.store).time) == 110
    verify(shorter.data.store)


def test_without_hard_links_files_are_copied(shorter, tiny_prepared, monkeypatch):
    link = os.link

    def refuse(source: Path, target: Path) -> None:
        if Path(target).match("fields/c/0/0/0/0"):
            raise OSError("no links here")
        link(source, target)  # Zarr's own

    monkeypatch.setattr(extension.os, "link", refuse)
    prepare(longer(shorter, "2001-04-20"))
    found = TrainingStore.open(shorter.data.store).fingerprint
    assert found == TrainingStore.open(tiny_prepared).fingerprint


def test_a_period_beyond_the_source_extends_as_far_as_it_goes(shorter, capsys):
    prepare(longer(shorter, "2030-12-31"))
    assert len(TrainingStore.open(shorter.data.store).time) == 110
    capsys.readouterr()
    prepare(shorter)
    assert "no later days" in capsys.readouterr().out


def test_what_is_no_extension_is_refused(shorter):
    with pytest.raises(UserError, match=r"data\.period: .* holds 2001-01-01 to 2001-04-12, more"):
        prepare(longer(shorter, "2001-04-01"))
    shorter.data.period = ["2001-01-05", "2001-04-20"]
    with pytest.raises(UserError, match=r"data\.period: .* holds 2001-01-01 to 2001-04-12, more"):
        prepare(shorter)


def test_earlier_days_are_not_put_in_front(tmp_path):
    dataset = nature_run(days=112)
    dataset = dataset.assign_coords(time=dataset["time"] - np.timedelta64(2, "D"))
    recipe = tiny_recipe(tmp_path, tmp_path / "run.zarr", store=str(tmp_path / "own.zarr"))
    dataset.isel(time=slice(2, 80)).to_zarr(tmp_path / "run.zarr", consolidated=False)
    recipe.data.splits.test = []
    prepare(recipe)
    shutil.rmtree(tmp_path / "run.zarr")
    dataset.to_zarr(tmp_path / "run.zarr", consolidated=False)
    recipe.data.period = ["1999-01-01", "2001-04-30"]
    with pytest.raises(UserError, match="begins on 2000-12-30 or lacks days in between"):
        prepare(recipe)


def test_days_of_the_training_period_are_not_appended(tmp_path, tiny_source):
    recipe = longer(tiny_recipe(tmp_path, tiny_source), "2001-03-01")
    recipe.data.splits.validation = recipe.data.splits.test = []
    prepare(recipe)
    with pytest.raises(UserError, match=r"after 2001-03-01 belong to data\.splits\.train"):
        prepare(longer(recipe, "2001-04-20"))
    assert len(TrainingStore.open(recipe.data.store).time) == 60


def test_observations_drawn_into_a_store_are_extended_with_it(tmp_path, tiny_source):
    recipe = longer(tiny_recipe(tmp_path, tiny_source), "2001-04-12")
    recipe.data.splits.test = ["2001-03-28", "2001-04-10"]
    recipe.observations.source = "store"
    prepare(recipe)
    short = TrainingStore.open(recipe.data.store).read_array("stations", slice(None))
    prepare(longer(recipe, "2001-04-20"))
    store = TrainingStore.open(recipe.data.store)
    np.testing.assert_array_equal(store.read_array("stations", slice(0, 102)), short)
    assert np.isfinite(store.read_array("stations", slice(102, 110))).any()
    verify(recipe.data.store)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ("fields", r"fields/c/1/0/0/0 \(fields of 2001-03-06 to 2001-04-20\) has changed"),
        ("stations", r"stations/c/1/0/0 has changed"),
        ("statistics/sd", r"statistics/sd has changed"),
        ("time", r"time has changed"),
    ],
)
def test_verify_names_what_has_changed(array, expected, tmp_path, tiny_source):
    recipe = tiny_recipe(tmp_path, tiny_source)
    recipe.observations.source = "store"
    path = prepare(recipe)
    verify(path)
    values = zarr.open_group(str(path), mode="r+")[array]
    values[-1] = values[-1] * 2 + 1
    with pytest.raises(UserError, match=expected):
        verify(path)


def test_verify_names_what_cannot_be_read(tmp_path, tiny_source):
    recipe = tiny_recipe(tmp_path, tiny_source)
    recipe.observations.source = "store"
    path = prepare(recipe)
    file = path / "satellite/c/1/0/0/0"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match="satellite cannot be read, one of its files is truncated"):
        verify(path)


def test_verify_on_the_command_line(tmp_path, tiny_source, capsys):
    path = prepare(tiny_recipe(tmp_path, tiny_source))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"data:\n  store: {path}\n  channels: [2m_temperature]\n"
        f"  splits: {{train: [2001-01-01, 2001-03-11]}}\nobservations: {{use: []}}\n"
    )
    assert main(["prepare", str(recipe), "--verify"]) == 0
    assert "is as prepared" in capsys.readouterr().out
    file = path / "fields/c/1/0/0/0"
    file.write_bytes(file.read_bytes()[:-100])
    assert main(["prepare", str(recipe), "--verify"]) == 2
    assert "file fields/c/1/0/0/0 is truncated or corrupt" in capsys.readouterr().err


def test_a_store_without_a_manifest_is_said_to_have_none(tmp_path, tiny_prepared):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(tiny_prepared, copy)
    (copy / "fields/manifest.json").unlink()
    with pytest.raises(UserError, match="no manifest of checksums"):
        verify(copy)
    (copy / "fields/manifest.json").write_text('{"fields": [')
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        manifest.verify(copy)


def test_zarr_and_xarray_find_no_strangers_in_a_store(tiny_prepared, recwarn):
    group = zarr.open_group(str(tiny_prepared), mode="r", use_consolidated=False)
    assert "fields" in dict(group.members())
    xr.open_zarr(tiny_prepared, consolidated=False)
    assert [str(w.message) for w in recwarn if "not recognized" in str(w.message)] == []
