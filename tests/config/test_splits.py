"""Splits of several pieces keep apart; reserved days stay unread but for a final measurement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slams.config.checks import check, require
from slams.config.loading import load, to_plain
from slams.config.schema import Config, SplitsConfig
from slams.config.splits import (
    check_reserved,
    check_splits,
    day_pieces,
    describe_test_days,
    flat_days,
    join_pieces,
    split_pieces,
)
from slams.errors import UserError
from slams.runs.provenance import inputs_fingerprint, run_difference

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SPLITS = SplitsConfig(
    train=["1980-01-01", "1980-12-31", "1990-01-01", "1990-12-31"],
    validation=["1981-01-10", "1981-02-10", "1991-01-10", "1991-02-10"],
    test=["1982-01-01", "1982-12-31"],
)


def changed(**days: object) -> SplitsConfig:
    return replace(SPLITS, **days)


def test_two_days_are_one_piece_and_pairs_are_more() -> None:
    check_splits(SPLITS, window=32)
    assert len(split_pieces(SPLITS, "train")) == 2
    assert len(split_pieces(SPLITS, "test")) == 1
    assert split_pieces(SplitsConfig(), "train") == ()
    assert flat_days(split_pieces(SPLITS, "train")) == SPLITS.train


@pytest.mark.parametrize(
    ("days", "sentence"),
    [
        ({"train": SPLITS.train[:3]}, "'data.splits.train': found 3 dates, expected the first"),
        ({"train": [*SPLITS.train[2:], *SPLITS.train[:2]]}, "in order of time"),
        (
            {"train": ["1980-01-01", "1980-12-31", "1980-12-31", "1981-01-02"]},
            "1980-12-31 to 1981-01-02 overlaps or precedes 1980-01-01 to 1980-12-31",
        ),
        (
            {"train": ["1980-12-31", "1980-01-01", "1990-01-01", "1990-12-31"]},
            "the last day, 1980-01-01, is before",
        ),
        ({"reserved": ["1999-01-01"]}, "'data.splits.reserved': found 1 dates"),
        # The gap holds between all pieces of different splits, not the first ones alone.
        ({"validation": ["1981-01-10", "1981-02-10", "1991-01-03", "1991-02-10"]}, "2 days after"),
        ({"validation": ["1990-06-01", "1990-07-30"]}, "overlaps data.splits"),
        (
            {"validation": ["1981-01-10", "1981-02-10", "1991-01-10", "1991-01-20"]},
            "window of 32 days is longer than data.splits.validation, which has 11",
        ),
    ],
)
def test_pieces_that_do_not_fit_are_refused(days: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_splits(changed(**days), window=32)


def test_pieces_of_one_split_may_touch() -> None:
    check_splits(changed(train=["1980-01-01", "1980-06-30", "1980-07-01", "1980-12-31"]), 32)


@pytest.mark.parametrize(
    ("reserved", "sentence"),
    [
        (["1990-12-31", "1992-12-31"], "'data.splits.train': 1990-01-01 to .* has days that"),
        (["1980-06-01", "1980-06-01"], "'data.splits.train'"),
        (["1991-02-01", "1991-03-10"], "'data.splits.validation': 1991-01-10 .* has days"),
        (["1991-02-15", "1991-03-10"], "is 4 days from .* data.splits.gap expects 5"),
        (["1989-12-01", "1989-12-27"], "'data.splits.train': 1990-01-01 .* is 4 days from"),
    ],
)
def test_no_training_or_validation_day_is_reserved_or_near(reserved: list, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_splits(changed(reserved=reserved, final=True), window=1)


def test_days_before_a_window_are_not_reserved_either() -> None:
    splits = changed(reserved=["1989-06-01", "1989-12-20"])  # 11 days before a training piece
    check_splits(splits, window=1, reach=11)
    with pytest.raises(UserError, match="background is made from expects 12 days"):
        check_splits(splits, window=1, reach=12)
    # What comes after a window is not read with it.
    check_splits(changed(reserved=["1991-02-16", "1991-03-10"]), window=1, reach=12)


def recipe(**splits: object) -> Config:
    config = load(EXPERIMENTS / "demo.yaml")
    return replace(config, data=replace(config.data, splits=replace(config.data.splits, **splits)))


def test_reserved_test_days_are_for_a_final_measurement() -> None:
    config = recipe(reserved=["1984-06-30", "1984-12-31"])
    for verb in ("prepare", "train vae", "train score"):
        check(config)
        require(config, verb)
    with pytest.raises(UserError, match=r"'data.splits.test': .* reads days that data.splits.res"):
        require(config, "assimilate")
    require(recipe(reserved=["1984-06-30", "1984-12-31"], final=True), "assimilate")
    # The background of the first test day is made from a reserved day, two days before.
    before = recipe(reserved=["1983-12-30", "1983-12-30"])
    with pytest.raises(UserError, match=r"'data.splits.test'"):
        require(before, "assimilate")


def test_what_a_run_says_of_its_test_days() -> None:
    reserved = ["1982-12-31", "1983-12-31"]
    assert describe_test_days(SPLITS, [], read=True) == "not reserved"
    assert describe_test_days(SPLITS, reserved, read=True) == "reserved, final"
    assert describe_test_days(SPLITS, reserved, read=False) == "reserved, not read"
    assert describe_test_days(changed(test=[]), reserved, read=True) == ""


def test_pieces_are_joined_where_they_overlap_or_touch() -> None:
    days = ["1980-01-01", "1980-01-10", "1980-02-01", "1980-02-02"]
    other = ["1980-01-11", "1980-01-20", "1980-02-02", "1980-02-05"]
    joined = join_pieces([*day_pieces("one", days), *day_pieces("other", other)])
    assert flat_days(joined) == ["1980-01-01", "1980-01-20", "1980-02-01", "1980-02-05"]


@pytest.mark.parametrize("stage", ["vae", "score", "score_pixel", "assimilation"])
def test_runs_from_before_these_keys_are_the_same_runs(stage: str) -> None:
    now = to_plain(recipe())
    older = to_plain(recipe())
    for key in ("reserved", "final"):
        del older["data"]["splits"][key]
    assert run_difference(stage, older, now) is None
    assert inputs_fingerprint(stage, older) == inputs_fingerprint(stage, now)
    # Which days may be read does not decide what comes out of those that are.
    later = to_plain(recipe(reserved=["1990-01-01", "1990-12-31"], final=True))
    assert run_difference(stage, now, later) is None


def test_the_long_recipe_reserves_the_last_two_years_of_either_segment() -> None:
    config = load(EXPERIMENTS / "nature_run_long.yaml")
    check(config)
    assert config.data.splits.test == config.data.splits.reserved
    assert not config.data.splits.final
    with pytest.raises(UserError, match="final=true"):
        require(config, "assimilate")
    for piece in split_pieces(config.data.splits, "reserved"):
        check_reserved(config.data.splits, [piece], "the recipe", reach=2)
        assert (piece[1] - piece[0]).days + 1 == 730
