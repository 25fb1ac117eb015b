"""Daily composites of several passes."""

from __future__ import annotations

import math

import pytest
import torch

from slams.errors import UserError
from slams.observations.composites import daily_composite

NAN = math.nan
VALUES = torch.tensor([[230.0, NAN, 250.0], [240.0, NAN, NAN], [260.0, NAN, NAN]])
TIME = torch.tensor([[0.2, NAN, 0.5], [0.9, NAN, NAN], [0.4, NAN, NAN]])


def test_the_latest_pass_of_a_day():
    value, number = daily_composite(VALUES, TIME, "latest")
    torch.testing.assert_close(value, torch.tensor([240.0, NAN, 250.0]), equal_nan=True)
    assert number.tolist() == [1, 0, 1]


def test_the_mean_of_the_passes():
    value, number = daily_composite(VALUES, TIME, "mean")
    expected = torch.tensor([(230.0 + 240.0 + 260.0) / 3, NAN, 250.0])
    torch.testing.assert_close(value, expected, equal_nan=True)
    assert number.tolist() == [3, 0, 1]


def test_a_pass_without_a_value_does_not_count():
    values = VALUES.clone()
    values[1, 0] = NAN
    assert float(daily_composite(values, TIME, "latest")[0][0]) == 260.0
    assert int(daily_composite(values, TIME, "mean")[1][0]) == 2


def test_the_variance_of_a_mean_is_that_of_one_pass_by_their_number():
    noise = torch.randn(4, 200_000, generator=torch.Generator().manual_seed(0)) * 5
    value, number = daily_composite(noise, torch.zeros_like(noise), "mean")
    assert float(value.var()) == pytest.approx(25 / int(number[0]), rel=0.02)


def test_another_kind_is_refused():
    with pytest.raises(UserError, match=r"composite 'median'; expected one of latest, mean"):
        daily_composite(VALUES, TIME, "median")
