"""Which days are samples: none across a gap, none of the validation in training, no test days."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from data_modules.store.training_store import TrainingStore
from slams.benchmarks.state.days import SampleDays, choose_days
from slams.benchmarks.state.recipe import StateBenchConfig, check_state_bench
from slams.calendar.days import day_of
from slams.config.loading import load
from slams.errors import UserError


def _load(recipe: Path, *overrides: str) -> StateBenchConfig:
    return load(recipe, overrides, StateBenchConfig, check_state_bench)


@pytest.fixture
def days(recipe: Path, linear_world: Path) -> SampleDays:
    # The second choice is one range over both pieces and the gap between them.
    words = "train=[{name: short, days: [2001-01-01, 2002-02-04]}, "
    words += "{name: all, days: [2001-01-01, 2002-02-04, 2002-08-10, 2004-06-26]}]"
    return choose_days(TrainingStore.open(linear_world), _load(recipe, words))


def test_no_sample_spans_the_gap(days: SampleDays) -> None:
    for offset in (-1, 1):
        neighbour = days.time[days.start + offset]
        np.testing.assert_array_equal(neighbour, days.time[days.start] + offset)
    everything = days.start[days.train[1]]
    dates = {str(day_of(t)) for t in days.time[everything]}
    # 400 days in a row, 14 at the end of the first piece and 300 of the second, each without ends.
    assert len(everything) == 398 + 12 + 298
    assert "2002-08-22" in dates
    assert not dates & {"2001-01-01", "2002-02-04", "2002-08-23", "2003-09-01", "2004-06-26"}


def test_training_and_validation_share_no_day(days: SampleDays) -> None:
    def touched(chosen: np.ndarray) -> set[int]:
        return set((days.start[chosen][:, None] + np.arange(-1, 2)).ravel().tolist())

    validation = touched(days.validation)
    assert len(validation) == 150
    for chosen in days.train:
        assert not touched(chosen) & validation
    assert not (days.train.any(axis=0) & days.validation).any()
    assert (days.train[0] <= days.train[1]).all()


def test_a_stride_thins_training_alone(recipe: Path, linear_world: Path) -> None:
    store = TrainingStore.open(linear_world)
    whole, thin = (choose_days(store, _load(recipe, f"stride={n}")) for n in (1, 4))
    assert thin.train[0].sum() == -(-whole.train[0].sum() // 4)
    assert thin.validation.sum() == whole.validation.sum() == 148


@pytest.mark.parametrize(
    ("attribute", "listed", "expected"),
    [
        ("reserved_days", ["2004-06-26", "2004-12-31"], "reserves for the test, 2004-06-26"),
        ("reserved_days", ["1999-01-01", "1999-12-31", "2002-07-28", "2003-01-01"], "validation"),
        ("statistics_days", ["2001-01-01", "2002-03-01"], "takes its statistics from"),
    ],
)
def test_days_that_the_store_keeps_apart_are_refused(
    attribute: str,
    listed: list[str],
    expected: str,
    recipe: Path,
    linear_world: Path,
    tmp_path: Path,
) -> None:
    copy = shutil.copytree(linear_world, tmp_path / "copy.zarr")
    zarr.open_group(copy).attrs[attribute] = listed
    with pytest.raises(UserError, match=expected):
        choose_days(TrainingStore.open(copy), _load(recipe))
    if attribute == "reserved_days" and len(listed) == 2:  # the day before is free
        words = "train=[{name: one, days: [2003-09-01, 2004-06-25]}]"
        assert choose_days(TrainingStore.open(copy), _load(recipe, words)).train.sum() == 297


def test_days_that_are_not_there_are_refused(recipe: Path, linear_world: Path) -> None:
    config = _load(recipe, "validation=[2010-01-01,2010-12-31]")
    with pytest.raises(UserError, match="has no three consecutive days of them"):
        choose_days(TrainingStore.open(linear_world), config)
