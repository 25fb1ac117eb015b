"""Closed forms of the per-case statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scoringrules
import torch

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.metrics.statistics import (
    CaseStatistics,
    area_mean,
    case_statistics,
    fair_crps,
    rank_of_truth,
)

CHANNELS = (FieldSpec.parse("temperature@850"), FieldSpec.parse("total_precipitation_24hr"))


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_fair_crps_is_the_oracle_s():
    members, truth = normal(7, 50), normal(50, seed=1)
    expected = scoringrules.crps_ensemble(
        truth.numpy(), members.T.numpy(), estimator="fair", backend="numpy"
    )
    np.testing.assert_allclose(fair_crps(members, truth), expected, rtol=1e-12)


@pytest.mark.parametrize("count", [2, 5, 40])
def test_fair_crps_has_the_analytic_expectation_for_every_size(count):
    """CRPS of N(mu, sd^2) at y (Gneiting and Raftery 2007); the biased estimator misses it."""
    mean, sd, y = 0.3, 1.7, 1.1
    z = (y - mean) / sd
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    distribution = (1 + math.erf(z / math.sqrt(2))) / 2
    expected = sd * (z * (2 * distribution - 1) + 2 * density - 1 / math.sqrt(math.pi))
    scores = fair_crps(mean + sd * normal(count, 200_000), torch.full((200_000,), y).double())
    error = 4 * float(scores.std()) / math.sqrt(len(scores))
    assert float(scores.mean()) == pytest.approx(expected, abs=error)
    # What the estimator with divisor M^2 adds: E|x - x'| / (2 M) = sd / (M sqrt(pi)).
    assert error < sd / (count * math.sqrt(math.pi)) / 1.5


def test_area_mean_weighs_cells_and_skips_missing_points():
    values = torch.tensor([[[1.0, 1.0], [5.0, math.nan]]])
    weight = torch.tensor([[[1.0, 1.0], [3.0, 0.0]]])
    assert float(area_mean(values, weight)) == pytest.approx((1 + 1 + 15) / 5)
    assert math.isnan(float(area_mean(values, torch.zeros(1, 2, 2))))


def statistics(members, truth, mask=None, weights=None, seed=0, case=0):
    batch = members.shape[0]
    return case_statistics(
        members,
        truth,
        torch.ones_like(truth, dtype=torch.bool) if mask is None else mask,
        torch.ones(members.shape[-2]) if weights is None else weights,
        torch.arange(case, case + batch),
        CHANNELS,
        seed,
    )


def test_statistics_of_an_ensemble_written_out():
    """Two members 1 and 4 with truth 2 in one half, members 0 and 0 with truth 3 in the other."""
    members = torch.zeros(1, 2, 1, 2, 2, 1)
    members[0, :, 0, :, 0, 0] = torch.tensor([[1.0, 1.0], [4.0, 4.0]])
    truth = torch.zeros(1, 1, 2, 2, 1)
    truth[..., 0, 0], truth[..., 1, 0] = 2.0, 3.0
    found = statistics(members, truth, weights=torch.tensor([1.0, 3.0]))
    assert found.mse[0].tolist() == pytest.approx([(0.25 + 3 * 9) / 4] * 2)
    assert found.bias[0].tolist() == pytest.approx([(0.5 - 3 * 3) / 4] * 2)
    assert found.variance[0].tolist() == pytest.approx([4.5 / 4] * 2)  # ddof = 1
    # (|1 - 2| + |4 - 2|) / 2 - 3 / 2 = 0 where the members straddle the truth.
    assert found.crps[0].tolist() == pytest.approx([(0.0 + 3 * 3) / 4] * 2)
    assert found.rank[0].tolist() == [[0.0, 0.25, 0.75]] * 2
    assert found.mse.dtype == found.rank.dtype == torch.float64


def test_masked_points_do_not_count_and_may_hold_anything():
    members, truth = normal(2, 4, 1, 2, 3, 4), normal(2, 1, 2, 3, 4, seed=1)
    mask = normal(2, 1, 2, 3, 4, seed=2) > 0
    mask[1, :, 1] = False
    reference = statistics(members, truth, mask)
    hidden = ~mask
    spoiled = truth.masked_fill(hidden, math.nan)
    wild = members.masked_fill(hidden.unsqueeze(1), math.inf)
    found = statistics(wild, spoiled, mask)
    assert found.valid.tolist() == [[True, True], [True, False]]
    for name in ("mse", "bias", "crps", "variance", "rank"):
        torch.testing.assert_close(
            getattr(found, name), getattr(reference, name), rtol=0, atol=0, equal_nan=True
        )
    point = mask[0, 0, 0]
    error = (members[0, :, 0, 0].mean(0) - truth[0, 0, 0])[point]
    assert float(found.mse[0, 0]) == pytest.approx(float(error.square().mean()))


def test_a_dry_truth_among_dry_members_takes_every_rank_alike():
    members, truth = torch.zeros(1, 4, 1, 2, 100, 100), torch.zeros(1, 1, 2, 100, 100)
    truth[:, :, :, ::2] += 3e-7  # what rounding of the transform leaves on a dry day
    rank = statistics(members, truth).rank[0]
    # 10,000 points: the standard deviation of a share of 1/5 is 0.004.
    assert rank.sub(0.2).abs().max() < 0.016


def test_ties_depend_on_the_case_and_not_on_the_batch():
    members, truth = torch.zeros(3, 4, 1, 2, 10, 10), torch.zeros(3, 1, 2, 10, 10)
    whole = statistics(members, truth).rank
    alone = statistics(members[2:], truth[2:], case=2).rank
    torch.testing.assert_close(whole[2:], alone, rtol=0, atol=0)
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, statistics(members, truth, seed=1).rank)


def test_partial_ties():
    """Members 0, 0, 1, 5 and truth 0: one of the ranks 0, 1, 2."""
    members = torch.tensor([0.0, 1.0, 0.0, 5.0]).reshape(4, 1).expand(4, 3)
    draw = torch.tensor([0.0, 0.5, 0.999])
    assert rank_of_truth(members, torch.zeros(3), draw).tolist() == [0, 1, 2]


def test_refusals():
    members, truth = normal(1, 3, 1, 2, 2, 2), normal(1, 1, 2, 2, 2)
    with pytest.raises(UserError, match="members: found 1"):
        statistics(members[:, :1], truth)
    members[0, 1, 0, 1, 0, 0] = math.nan
    with pytest.raises(UserError, match="case 0, channel total_precipitation_24hr"):
        statistics(members, truth)


def test_case_statistics_is_frozen():
    found = statistics(normal(1, 3, 1, 2, 2, 2), normal(1, 1, 2, 2, 2))
    assert isinstance(found, CaseStatistics)
    with pytest.raises(AttributeError):
        found.members = 4
