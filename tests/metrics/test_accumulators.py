"""Metrics are functions of mean statistics, whatever the grouping of the cases."""

from __future__ import annotations

import math

import pytest
import torch

from slams.fields import FieldSpec
from slams.metrics.accumulators import MeanStatistics
from slams.metrics.scores import (
    SCORES,
    level_groups,
    mean_over_levels,
    rank_chi_square,
    score,
)
from slams.metrics.statistics import case_statistics

CHANNELS = (FieldSpec.parse("temperature@500"), FieldSpec.parse("temperature@850"))
MEMBERS = 8


def ensemble(batch, spread=1.0, seed=0, size=40, members=MEMBERS):
    """Draw truth and members from one distribution about a shared centre (calibrated at 1)."""
    g = torch.Generator().manual_seed(seed)
    shape = (batch, 1, 2, size, size)
    centre = 5 * torch.randn(shape, generator=g)
    truth = centre + torch.randn(shape, generator=g)
    noise = torch.randn(batch, members, *shape[1:], generator=g)
    return centre.unsqueeze(1) + spread * noise, truth


def statistics(members, truth, case=0, mask=None):
    return case_statistics(
        members,
        truth,
        torch.ones_like(truth, dtype=torch.bool) if mask is None else mask,
        torch.ones(truth.shape[-2]),
        torch.arange(case, case + len(truth)),
        CHANNELS,
        0,
    )


@pytest.mark.parametrize("kind", [name for name in SCORES if name != "wasserstein"])
def test_grouping_of_the_cases_does_not_matter(kind):
    members, truth = ensemble(7)
    # Cases of very different errors: an average of averages, or of roots, would show.
    members = members * torch.arange(1.0, 8.0).reshape(7, 1, 1, 1, 1, 1)
    mask = torch.ones_like(truth, dtype=torch.bool)
    mask[2:4, :, 1] = False
    results = []
    for sizes in ([7], [1] * 7, [4, 3]):
        metric, start = MeanStatistics(2, MEMBERS), 0
        for size in sizes:
            part = slice(start, start + size)
            metric.update(statistics(members[part], truth[part], start, mask[part]))
            start += size
        results.append(metric.means()["rank"] if kind == "rank_chi2" else metric.compute()[kind])
    for found in results[1:]:
        torch.testing.assert_close(found, results[0], rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(metric.cases, torch.tensor([7.0, 5.0]).double())


def test_states_are_float64_sums():
    metric = MeanStatistics(2, MEMBERS)
    needed = {name for names in SCORES.values() for name in names}
    assert set(metric._defaults) == {*(f"sum_{name}" for name in needed), "cases", "free"}
    assert all(r.__name__ == "dim_zero_sum" for r in metric._reductions.values())
    assert all(getattr(metric, n).dtype == torch.float64 for n in metric._defaults)


def test_rmse_is_the_root_of_the_mean():
    truth = torch.zeros(2, 1, 2, 3, 3)
    members = torch.zeros(2, MEMBERS, 1, 2, 3, 3)
    members[0], members[1] = 1.0, 7.0
    metric = MeanStatistics(2, MEMBERS)
    metric.update(statistics(members, truth))
    assert metric.compute()["rmse"].tolist() == pytest.approx([5.0, 5.0])  # not (1 + 7) / 2
    assert torch.isnan(MeanStatistics(2, MEMBERS).means()["mse"]).all()


@pytest.mark.parametrize("members", [3, 12])
def test_spread_skill_of_calibrated_ensembles_is_one_for_every_size(members):
    metric = MeanStatistics(2, members)
    metric.update(statistics(*ensemble(4, members=members, size=60)))
    # 14,400 points a channel: the ratio's standard deviation is near 0.007.
    assert (metric.compute()["spread_skill"] - 1).abs().max() < 0.025
    twice = MeanStatistics(2, members)
    twice.update(statistics(*ensemble(4, spread=2.0, members=members, size=60)))
    expected = 2 * math.sqrt((1 + 1 / members) / (1 + 4 / members))
    assert (twice.compute()["spread_skill"] - expected).abs().max() < 0.05


def test_rank_histogram_of_calibrated_ensembles_is_flat():
    metric = MeanStatistics(2, MEMBERS)
    metric.update(statistics(*ensemble(4)))
    frequency = metric.means()["rank"]
    torch.testing.assert_close(frequency.sum(-1), torch.ones(2).double())
    # Independent points: n times the statistic is chi-square with M = 8 degrees of freedom,
    # below 26.1 with probability 0.999.
    chi2 = 4 * 40 * 40 * rank_chi_square(frequency)
    assert chi2.max() < 26.1
    narrow = MeanStatistics(2, MEMBERS)
    narrow.update(statistics(*ensemble(4, spread=0.7)))
    assert (4 * 40 * 40 * narrow.compute()["rank_chi2"]).min() > 100
    assert narrow.means()["rank"][:, 0].min() > frequency[:, 0].max()


def test_rank_chi_square_by_hand():
    frequency = torch.tensor([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert rank_chi_square(frequency).tolist() == pytest.approx([2.0, 0.0], abs=1e-6)


def test_mean_over_levels_is_the_mean_of_the_levels_values():
    values = torch.tensor([3.0, 4.0, 5.0])
    assert float(mean_over_levels(values, [0, 1])) == 3.5
    values[1] = math.nan
    assert float(mean_over_levels(values, [0, 1])) == 3.0
    channels = [*CHANNELS, FieldSpec.parse("2m_temperature")]
    assert level_groups(channels) == {"temperature": [0, 1]}


def test_unknown_metric():
    with pytest.raises(KeyError, match="rmse"):
        score("sharpness", {}, 2)
