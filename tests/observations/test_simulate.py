from __future__ import annotations

import math

import pytest
import torch

from slams.errors import UserError
from slams.observations.satellite import SatelliteOperator
from slams.observations.simulate import draw, random_reports
from slams.observations.stations import StationOperator

NAME = "satellite/outgoing_longwave_radiation"


@pytest.fixture
def operator(grid, channels):
    return SatelliteOperator(grid, channels, "outgoing_longwave_radiation", 1)


@pytest.fixture
def truth(generator):
    return torch.randn(4, 3, 4, 12, 24, generator=generator)


def known(truth: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(truth, dtype=torch.bool)


def test_values_are_truth_plus_noise_of_the_stated_error(operator, truth):
    sd = torch.linspace(0.5, 4, len(operator))
    case = torch.tensor([0, 10, 20, 30])
    found = draw(NAME, operator, truth, known(truth), sd, case, seed=1)
    assert found.values.shape == found.mask.shape == found.error_variance.shape == (4, 3, 288)
    assert bool(found.mask.all())
    assert found.modality == "satellite"
    torch.testing.assert_close(found.error_variance, (sd**2).expand(4, 3, 288))
    standard = (found.values - operator(truth)) / sd
    count = standard.numel()
    assert abs(float(standard.mean())) < 4 / count**0.5
    assert abs(float(standard.var()) - 1) < 4 * (2 / count) ** 0.5
    # Days, cases and points are independent of each other.
    rows = standard.reshape(12, 288)
    correlation = torch.corrcoef(rows) - torch.eye(12)
    assert float(correlation.abs().max()) < 5 / 288**0.5


def test_noise_does_not_depend_on_the_batch(operator, truth):
    case = torch.tensor([7, 100, 3, 55])
    whole = draw(NAME, operator, truth, known(truth), 2.0, case, seed=1)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = draw(NAME, operator, truth[order], known(truth), 2.0, case[order], seed=1)
    assert torch.equal(shuffled.values, whole.values[order])
    torch.rand(100)  # the global generator has no say
    for i in range(4):
        part = slice(i, i + 1)
        alone = draw(NAME, operator, truth[part], known(truth[part]), 2.0, case[part], seed=1)
        assert torch.equal(alone.values, whole.values[part])


def test_a_day_has_one_noise_whatever_window_it_is_met_in(operator):
    zero = torch.zeros(2, 3, 4, 12, 24)
    found = draw(NAME, operator, zero, known(zero), 1.0, torch.tensor([10, 12]), seed=1)
    assert torch.equal(found.values[0, 2], found.values[1, 0])
    assert not torch.equal(found.values[0, 1], found.values[1, 1])


def test_seed_and_name_change_the_noise(operator, truth):
    case = torch.arange(4)
    base = draw(NAME, operator, truth, known(truth), 1.0, case, seed=1).values
    for name, seed in ((NAME, 2), ("stations/other", 1)):
        other = draw(name, operator, truth, known(truth), 1.0, case, seed=seed).values
        assert not bool((other == base).any())


def test_points_that_touch_missing_truth_are_masked(grid, channels):
    operator = StationOperator(
        grid,
        channels,
        "2m_temperature",
        torch.tensor([38.0, 38.0, 30.0, -40.0]),
        torch.tensor([15.0, 20.0, 20.0, 20.0]),
    )
    truth = torch.full((1, 1, 4, 12, 24), 280.0)
    truth[0, 0, 1, 3, 2] = torch.nan  # 38 N, 30 E
    truth[0, 0, 0] = torch.nan  # another channel
    found = draw(
        "stations/2m_temperature",
        operator,
        truth,
        ~truth.isnan(),
        0.01,
        torch.tensor([5]),
        seed=0,
        mask=torch.tensor([True, True, True, True]),
    )
    # At 15 E the station stands on a grid point, and its missing neighbour has no weight.
    assert found.mask[0, 0].tolist() == [True, False, False, True]
    assert bool((found.values[found.mask] - 280).abs().max() < 0.1)
    assert bool(found.values[~found.mask].isnan().all())


def test_a_mask_hides_reports_and_changes_no_other(operator, truth):
    case = torch.arange(4)
    whole = draw(NAME, operator, truth, known(truth), 1.0, case, seed=1)
    mask = torch.rand(4, 3, len(operator), generator=torch.Generator().manual_seed(5)) < 0.5
    part = draw(NAME, operator, truth, known(truth), 1.0, case, seed=1, mask=mask)
    assert torch.equal(part.mask, mask)
    assert torch.equal(part.values[mask], whole.values[mask])
    assert bool(part.values[~mask].isnan().all())


def test_what_falls_below_the_bound_reads_the_bound(operator, truth):
    case = torch.arange(4)
    free = draw(NAME, operator, truth, known(truth), 2.0, case, seed=1)
    found = draw(NAME, operator, truth, known(truth), 2.0, case, seed=1, bound=0.0)
    assert free.bound == -math.inf
    assert found.bound == 0
    # The same noise: whoever is above the bound does not notice it.
    assert torch.equal(found.values, free.values.clamp(min=0))
    assert 0.3 < float((found.values == 0).double().mean()) < 0.7


@pytest.mark.parametrize("sd", [-1.0, 0.0, float("nan")])
def test_errors_that_are_not_positive_are_refused(operator, truth, sd):
    with pytest.raises(UserError, match=rf"{NAME}: R needs a standard deviation above 0, found"):
        draw(NAME, operator, truth, known(truth), sd, torch.arange(4), seed=0)
    wrong = torch.ones(len(operator))
    wrong[17] = sd
    with pytest.raises(UserError, match="above 0"):
        draw(NAME, operator, truth, known(truth), wrong, torch.arange(4), seed=0)


def test_errors_of_another_network_are_refused(operator, truth):
    with pytest.raises(UserError, match=r"shape \(5,\); expected .* 288 points"):
        draw(NAME, operator, truth, known(truth), torch.ones(5), torch.arange(4), seed=0)


def test_missing_reports_are_a_property_of_the_day():
    case = torch.tensor([4, 6, 90])
    arrived = random_reports("stations", 2000, 3, 0.3, case, seed=1)
    assert arrived.shape == (3, 3, 2000)
    assert float(arrived.double().mean()) == pytest.approx(0.7, abs=0.02)
    assert torch.equal(arrived[0, 2], arrived[1, 0])
    assert torch.equal(arrived[2:], random_reports("stations", 2000, 3, 0.3, case[2:], seed=1))
    assert not torch.equal(arrived, random_reports("stations", 2000, 3, 0.3, case, seed=2))
    assert bool(random_reports("stations", 50, 1, 0.0, case, seed=1).all())
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match=r"missing stations reports .* \[0, 1\)"):
            random_reports("stations", 50, 1, share, case, seed=1)
