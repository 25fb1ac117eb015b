"""The intervals hold what they promise, and pairs are resampled together."""

from __future__ import annotations

import pytest
import torch

from slams.errors import UserError
from slams.metrics.bootstrap import (
    Resamples,
    _expanded_tail,
    resampled_scores,
)


def test_resamples_are_whole_blocks_of_dates():
    resamples = Resamples(torch.arange(12.0), block=3, samples=200, seed=0)
    assert resamples.counts.shape == (200, 12)
    assert resamples.blocks == 4
    torch.testing.assert_close(resamples.counts.sum(1), torch.full((200,), 12.0).double())
    # A date is drawn as often as the blocks that cover it: neighbours go together.
    neighbours = (resamples.counts * resamples.counts.roll(1, 1)).mean()
    distant = (resamples.counts * resamples.counts.roll(6, 1)).mean()
    assert neighbours > 1.3 * distant


def test_cases_of_one_date_are_drawn_together():
    time = torch.tensor([5.0, 1.0, 5.0, 2.0, 3.0])
    counts = Resamples(time, block=1, samples=50, seed=0).counts
    assert torch.equal(counts[:, 0], counts[:, 2])
    assert not torch.equal(counts[:, 0], counts[:, 1])


def test_same_seed_same_resamples():
    a, b, c = (Resamples(torch.arange(9.0), 2, 20, seed).counts for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_means_leave_out_cases_without_a_value():
    resamples = Resamples(torch.arange(6.0), 1, 30, 0)
    values = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, float("nan")]).unsqueeze(1)
    means = resamples.means(values)
    assert (means[means.isfinite()] == 1).all()
    assert means.isfinite().sum() >= 29


def coverage(persistence, block, trials=400, count=32):
    """Count how often the interval of the mean of a series about zero holds zero."""
    hits = 0
    g = torch.Generator().manual_seed(3)
    for trial in range(trials):
        noise = torch.randn(count + 20, generator=g, dtype=torch.float64)
        series = [noise[0]]
        for value in noise[1:]:
            series.append(persistence * series[-1] + value)
        values = torch.stack(series[20:]).unsqueeze(1)
        resamples = Resamples(torch.arange(float(count)), block, 300, trial)
        lower, upper = resamples.interval(resampled_scores("bias", {"bias": values}, 2, resamples))
        hits += bool(lower <= 0 <= upper)
    return hits / trials


def test_coverage():
    # Two standard deviations of the share are 0.022.
    assert 0.925 < coverage(0.0, 1) < 0.975
    assert 0.92 < coverage(0.0, 3) < 0.985
    # Dates that persist: blocks repair most of what single dates would miss.
    assert coverage(0.6, 4) > 0.82 > coverage(0.6, 1) + 0.05


def test_few_dates_give_wide_intervals_and_one_gives_none():
    values = torch.tensor([[1.0], [2.0], [6.0]])
    resamples = Resamples(torch.arange(3.0), block=3, samples=500, seed=0)
    lower, upper = resamples.interval(resampled_scores("bias", {"bias": values}, 2, resamples))
    assert (float(lower), float(upper)) == (1.0, 6.0)
    single = Resamples(torch.zeros(1), 3, 10, 0)
    lower, upper = single.interval(single.means(torch.ones(1, 1)))
    assert lower.isnan().all()
    assert upper.isnan().all()
    none = Resamples(torch.zeros(0), 3, 10, 0)
    assert none.interval(none.means(torch.ones(0, 2)))[0].isnan().all()


def test_expanded_quantiles_against_tabulated_student_quantiles():
    # t(0.975) is 2.365 with 7 and 2.131 with 15 degrees of freedom.
    for blocks, student in ((8, 2.365), (16, 2.131)):
        z = torch.tensor(student * (blocks / (blocks - 1)) ** 0.5, dtype=torch.float64)
        expected = float(torch.special.ndtr(-z))
        assert _expanded_tail(blocks) == pytest.approx(expected, rel=0.01)
    assert _expanded_tail(1e9) == pytest.approx(0.025, rel=1e-3)


def test_paired_differences_are_sharper_than_their_parts():
    g = torch.Generator().manual_seed(0)
    weather = 4 + torch.randn(40, 1, generator=g, dtype=torch.float64).abs()
    first = {"mse": weather + 0.02 * torch.randn(40, 1, generator=g).double()}
    second = {"mse": 1.1 * weather}
    resamples = Resamples(torch.arange(40.0), 2, 400, 0)
    one, other = (resampled_scores("rmse", part, 5, resamples) for part in (first, second))
    lower, upper = resamples.interval(one - other)
    value = first["mse"].mean().sqrt() - second["mse"].mean().sqrt()
    assert float(lower) < float(value) < float(upper) < 0
    own = resamples.interval(one)
    assert float(upper - lower) < 0.2 * float(own[1] - own[0])


def test_refusals():
    with pytest.raises(UserError, match="bootstrap_block"):
        Resamples(torch.arange(3.0), 0, 10, 0)
