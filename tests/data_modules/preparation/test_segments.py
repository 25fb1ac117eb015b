"""One store of two segments: statistics of both, no window across the seam, reserved days."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.preparation.prepare import describe
from data_modules.store.manifest import verify
from data_modules.store.training_store import TrainingStore
from slams.config.schema import Config, SourceConfig, SplitsConfig
from slams.errors import UserError
from slams.normalisation import harmonic_basis
from slams.stages.data import multimodal, reanalysis
from slams.stages.sources import prepare
from tests.synthetic import nature_run, tiny_recipe

CHANNEL = "temperature@850"
SPLITS = SplitsConfig(
    train=["2001-01-01", "2001-02-24", "2004-07-01", "2004-08-14"],
    validation=["2001-03-01", "2001-03-11", "2004-08-20", "2004-08-30"],
    test=["2001-03-16", "2001-03-31", "2004-09-04", "2004-09-18"],
    reserved=["2004-09-04", "2004-09-18"],
    gap=2,
)
DAYS = (90, 80)


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two segments, January to March 2001 and July to September 2004."""
    root = tmp_path_factory.mktemp("segments")
    for seed, (first, days) in enumerate(zip(("2001-01-01", "2004-07-01"), DAYS, strict=True)):
        run = nature_run(days=days, seed=seed)
        time = np.datetime64(first, "ns") + np.arange(days) * np.timedelta64(1, "D")
        path = root / f"run_{first[:4]}.zarr"
        run.assign_coords(time=time).to_zarr(path, zarr_format=3, consolidated=False)
    return root


@pytest.fixture(scope="module")
def config(segments: Path) -> Config:
    """A recipe of both, prepared."""
    recipe = tiny_recipe(segments, segments / "run_*.zarr", splits=SPLITS)
    prepare(recipe)
    return recipe


def with_splits(config: Config, **changes: object) -> Config:
    splits = replace(config.data.splits, **changes)
    return replace(config, data=replace(config.data, splits=splits))


def test_the_plan_says_the_days_of_every_split(config: Config) -> None:
    text = describe(config.data, config.observations)
    for line in (
        "170 steps from 2001-01-01 to 2004-09-18, without 2001-04-01 to 2004-06-30",
        "training: 2001-01-01 to 2001-02-24, 2004-07-01 to 2004-08-14, 100 days",
        "validation: 2001-03-01 to 2001-03-11, 2004-08-20 to 2004-08-30, 22 days",
        "test: 2001-03-16 to 2001-03-31, 2004-09-04 to 2004-09-18, 31 days",
        "reserved: 2004-09-04 to 2004-09-18, 15 days",
    ):
        assert line in text.splitlines()


def test_prepare_prints_them_before_it_works(
    tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    path = prepare(replace(config, data=replace(config.data, store=str(tmp_path / "s.zarr"))))
    assert "test: 2001-03-16 to 2001-03-31" in capsys.readouterr().out
    # Reserved days are not part of the store's identity: the fingerprint is the same without them.
    other = with_splits(config, reserved=[])
    other = replace(other, data=replace(other.data, store=str(tmp_path / "other.zarr")))
    stores = [TrainingStore.open(path), TrainingStore.open(prepare(other))]
    assert stores[0].fingerprint == stores[1].fingerprint
    assert stores[0].attributes["reserved_days"] == SPLITS.reserved
    assert "reserved_days" not in stores[1].attributes


def test_statistics_are_those_of_the_union_of_both_pieces(config: Config) -> None:
    store = TrainingStore.open(config.data.store)
    assert store.attributes["statistics_days"] == SPLITS.train
    assert json.loads(store.attributes["recipe"])["train"] == SPLITS.train
    channel = [c.name for c in store.channels].index(CHANNEL)
    pick = np.r_[0:55, 90:135]
    time = store.time[pick]
    fields = store.read(slice(None))[pick][:, channel].reshape(100, -1).astype(np.float64)
    basis = harmonic_basis(torch.from_numpy(time), 0).numpy()
    anomaly = fields - basis @ np.linalg.lstsq(basis, fields, rcond=None)[0]
    sd = store.statistics.sd[channel].numpy().reshape(-1)
    rms = np.sqrt((anomaly**2).mean(axis=0))
    free = sd > 1.001 * sd.min()  # the others are at the floor
    np.testing.assert_allclose(sd[free], rms[free], rtol=1e-5)
    for number, lag in enumerate((1, 2, 3)):
        # Pairs are within a piece: the last days of 2001 are not paired with the first of 2004.
        later = np.r_[lag:55, 55 + lag : 100]
        product = (anomaly[later] * anomaly[later - lag]).sum(axis=0)
        rho = np.clip(product / (anomaly[later - lag] ** 2).sum(axis=0), 0, 1)
        found = store.statistics.persistence[number, channel].numpy().reshape(-1)
        np.testing.assert_allclose(found, rho, atol=1e-4)


def test_no_window_and_no_background_crosses_the_seam(config: Config) -> None:
    config = replace(config, data=replace(config.data, window=2))
    data = reanalysis(config)
    assert data.splits["train"].tolist() == [*range(54), *range(90, 134)]
    assert data.splits["validation"].tolist() == [*range(59, 69), *range(140, 150)]
    archive = multimodal(config).archive()
    # The background of a window is made from the state two days before, in the same piece.
    first = torch.from_numpy(data.store.time[[*range(2, 54), *range(92, 134)]])
    assert torch.equal(archive.time[:, 0], first)


def test_no_background_of_a_training_window_comes_from_another_piece(config: Config) -> None:
    train = ["2001-01-01", "2001-01-20", "2001-01-22", "2001-02-24"]
    one = with_splits(config, train=train, validation=[])
    store = TrainingStore.open(config.data.store)
    store.attributes["statistics_days"] = train  # those of another preparation
    # 21 January is none of its days; the state two days before 22 January is in the piece before.
    first = torch.from_numpy(store.time[[*range(2, 20), *range(23, 55)]])
    assert torch.equal(multimodal(one, store).archive().time[:, 0], first)


def test_test_days_of_a_segment_without_days_before_have_no_background(config: Config) -> None:
    train = ["2001-01-01", "2001-02-24"]
    test = ["2004-07-01", "2004-07-05"]
    one = with_splits(config, train=train, validation=[], test=test)
    one = replace(one, data=replace(one.data, statistics_from="", test_cases=0))
    store = TrainingStore.open(config.data.store)
    store.attributes["statistics_days"] = train  # those of another preparation
    assert multimodal(one, store).splits["test"].tolist() == [92, 93, 94]


def test_another_recipe_is_held_to_the_days_that_the_store_reserves(config: Config) -> None:
    path = config.data.store
    with pytest.raises(UserError, match=r"reads days that data.splits.reserved reserves"):
        multimodal(config).check_test_days()
    forgetful = with_splits(config, reserved=[])
    assert multimodal(forgetful).reserved == SPLITS.reserved
    words = rf"'data.splits.test': .* reads days that training store {path} reserves .*final=true"
    with pytest.raises(UserError, match=words):
        multimodal(forgetful).test_dataloader()
    multimodal(with_splits(forgetful, final=True)).test_dataloader()
    multimodal(with_splits(forgetful, test=SPLITS.test[:2])).test_dataloader()
    # `final` opens only the test split.
    peeking = with_splits(forgetful, validation=SPLITS.test[2:], test=[], final=True)
    with pytest.raises(UserError, match=rf"'data.splits.validation': .* training store {path}"):
        multimodal(peeking)


def test_a_store_that_is_kept_learns_what_is_reserved(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "store.zarr"
    shutil.copytree(config.data.store, path)
    more = with_splits(config, reserved=["2001-03-16", "2001-03-31"])
    more = replace(more, data=replace(more.data, store=str(path)))
    before = TrainingStore.open(path)
    prepare(more)
    after = TrainingStore.open(path)
    assert after.attributes["reserved_days"] == ["2001-03-16", "2001-03-31", *SPLITS.reserved]
    changed = {"reserved_days": 0, "digest": 0}
    assert {**after.attributes, **changed} == {**before.attributes, **changed}
    verify(path)
    prepare(with_splits(more, reserved=[]))  # reserved days remain reserved
    assert TrainingStore.open(path).attributes == after.attributes


def test_statistics_of_reserved_days_are_refused(tmp_path: Path, config: Config) -> None:
    data = replace(config.data, store=str(tmp_path / "s.zarr"), statistics_from=config.data.store)
    splits = SplitsConfig(test=SPLITS.test, reserved=["2004-08-01", "2004-09-30"])
    with pytest.raises(UserError, match=r"data.statistics_from: .* 2004-08-14 has days that"):
        prepare(replace(config, data=replace(data, splits=splits)))


def test_a_segment_that_is_missing_is_noticed(tmp_path: Path, config: Config, segments) -> None:
    source = SourceConfig(path=str(segments / "run_2001*.zarr"))
    data = replace(config.data, store=str(tmp_path / "s.zarr"), source=source)
    words = "data.splits.train: the source has no data from 2004-07-01 to 2004-08-14; it has"
    with pytest.raises(UserError, match=words):
        prepare(replace(config, data=data))


def test_a_pattern_that_matches_the_store_itself_is_refused(config: Config) -> None:
    folder = Path(config.data.store).parent
    data = replace(config.data, source=SourceConfig(path=str(folder / "*.zarr")))
    config = replace(config, resume="overwrite", data=data)
    with pytest.raises(UserError, match=r"would be overwritten, but data.source.path reads"):
        prepare(config)
