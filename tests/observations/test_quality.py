from __future__ import annotations

import math

import pytest
import torch

from slams.errors import UserError
from slams.fields import Observations
from slams.observations.quality import gross_error_check
from slams.observations.stations import StationOperator


@pytest.fixture
def operator(grid, channels):
    """Three stations, 650 m above the model's terrain, so 4.225 K colder."""
    return StationOperator(
        grid,
        channels,
        "2m_temperature",
        torch.tensor([38.0, 30.5, -90.0]),
        torch.tensor([15.0, 22.5, 0.0]),
        torch.full((3,), 650.0),
        torch.zeros(12, 24),
    )


def observe(operator, departures: torch.Tensor, variance: float) -> Observations:
    """Observations that depart from a background of 280 K by given amounts `(B, T, 3)`."""
    values = 280 - 4.225 + departures
    return Observations(
        "stations/2m_temperature",
        operator,
        values,
        ~values.isnan(),
        torch.full_like(values, variance),
    )


def test_rejects_beyond_the_limit_and_counts(operator):
    # sqrt(9 + 16) = 5 K: with limit 3 the border is 15 K, wherever the station stands.
    nan = math.nan
    departures = torch.tensor([[[14.9, -14.9, 0.0]], [[15.1, nan, -15.1]], [[nan, 2.0, 1e9]]])
    background = torch.full((3, 1, 4, 12, 24), 280.0)
    before = observe(operator, departures, variance=9.0)
    after = gross_error_check(before, background, torch.full_like(background, 4.0), limit=3.0)
    assert after.mask.reshape(3, 3).tolist() == [
        [True, True, True],
        [False, False, False],
        [False, True, False],
    ]
    assert (before.mask & ~after.mask).sum(dim=(1, 2)).tolist() == [0, 2, 1]
    assert before.mask.sum() == 7
    torch.testing.assert_close(after.values, before.values, equal_nan=True)


def test_each_station_is_judged_by_its_own_background(operator):
    background = torch.full((1, 1, 4, 12, 24), 280.0)
    sd = torch.full_like(background, 1.0)
    sd[..., 1, :6, :] = 4.0
    before = observe(operator, torch.full((1, 1, 3), 10.0), variance=9.0)
    after = gross_error_check(before, background, sd, limit=3.0)
    # North 3 x 5 = 15 K, at the south pole 3 x sqrt(10) = 9.5 K.
    assert after.mask.reshape(-1).tolist() == [True, True, False]


def test_an_infinite_limit_accepts_everything(operator):
    background = torch.full((1, 1, 4, 12, 24), 280.0)
    before = observe(operator, torch.tensor([[[1e6, -3.0, math.nan]]]), variance=1.0)
    after = gross_error_check(before, background, torch.ones_like(background), math.inf)
    assert torch.equal(after.mask, before.mask)


@pytest.mark.parametrize("limit", [0.0, -5.0, math.nan])
def test_a_limit_that_is_not_positive_is_refused(operator, limit):
    background = torch.full((1, 1, 4, 12, 24), 280.0)
    before = observe(operator, torch.zeros(1, 1, 3), variance=1.0)
    with pytest.raises(UserError, match="gross-error check"):
        gross_error_check(before, background, background, limit)
