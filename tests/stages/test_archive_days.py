"""Days of a bundle's archive: no more than allowed, and those that backgrounds are made from."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from slams.errors import UserError
from slams.stages.bundle import _archive_days

PERIODS = {"train": np.arange(70), "validation": np.arange(80, 92)}


def days_of(most: int, of_file: bool = False, window: int = 1) -> np.ndarray:
    data = SimpleNamespace(
        periods=PERIODS,
        channels=range(4),
        grid=SimpleNamespace(shape=(12, 24)),
        data=SimpleNamespace(window=window),
        provider=SimpleNamespace(states=object() if of_file else None),
        store=SimpleNamespace(statistics=SimpleNamespace(lags=(1, 2, 3))),
        archive_days=lambda split: PERIODS[split],
    )
    return _archive_days(data, most)


@pytest.mark.parametrize("most", [16, 17, 30, 50, 80])
def test_blocks_have_backgrounds_of_every_age(most: int) -> None:
    found = days_of(most)
    assert 0.8 * most <= len(found) <= most
    assert (np.diff(found) > 0).all()
    for period in PERIODS.values():
        own = found[np.isin(found, period)]
        for age in (1, 2, 3):
            assert np.isin(own - age, own).sum() >= 2
        assert own[0] == period[0]
        assert own[-1] == period[-1]


def test_all_days_are_kept_where_they_fit() -> None:
    for most in (0, 82, 1000):
        assert len(days_of(most)) == 82


def test_states_of_a_file_keep_the_days_of_which_errors_are_estimated() -> None:
    found = days_of(32, of_file=True)
    assert len(found) <= 32
    assert np.isin(found, PERIODS["train"]).sum() == 30


@pytest.mark.parametrize(("most", "of_file", "least"), [(15, False, 16), (31, True, 32)])
def test_too_few_days_are_refused(most: int, of_file: bool, least: int) -> None:
    with pytest.raises(UserError, match=f"found {most}, expected at least {least}"):
        days_of(most, of_file)
