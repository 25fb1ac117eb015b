"""The Wasserstein distance of marginals against SciPy, and against what shifts and scales give."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from slams.fields import FieldSpec
from slams.metrics.accumulators import MeanStatistics
from slams.metrics.marginals import SPACING, Marginals, wasserstein
from slams.metrics.statistics import case_statistics
from slams.normalisation import Normaliser

CHANNELS = (FieldSpec.parse("temperature@850"), FieldSpec.parse("total_precipitation_24hr"))
MARGINALS = Marginals(torch.tensor([280.0, 0.4]).double(), torch.tensor([12.0, 0.6]).double())
WEIGHTS = torch.linspace(0.4, 1.6, 24, dtype=torch.float64)


def fields(cases=4, members=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    truth = torch.randn(cases, 1, 2, 24, 48, generator=g)
    noise = torch.randn(cases, members, 1, 2, 24, 48, generator=g)
    for x, shift in ((truth, 0.0), (noise, 0.3)):
        x[..., 0, :, :] = 281 + 10 * (x[..., 0, :, :] + shift)
        x[..., 1, :, :] = (3 * x[..., 1, :, :] - 1 + shift).clamp(min=0)  # two days in three dry
    return noise, truth


def compute(members, truth, mask=None, sizes=None):
    metric = MeanStatistics(2, members.shape[1])
    start = 0
    for size in sizes or [len(truth)]:
        part = slice(start, start + size)
        known = torch.ones_like(truth, dtype=torch.bool) if mask is None else mask
        metric.update(
            case_statistics(
                members[part],
                truth[part],
                known[part],
                WEIGHTS,
                torch.arange(start, start + size),
                CHANNELS,
                0,
                marginals=MARGINALS,
            )
        )
        start += size
    return metric.compute()["wasserstein"]


def oracle(members, truth, channel):
    scale = (lambda v: np.log1p(v)) if channel else (lambda v: v)
    x, y = (scale(v[..., channel, :, :].double().numpy()) for v in (members, truth))
    weight = WEIGHTS.numpy()[:, None]
    distance = wasserstein_distance(
        x.ravel(),
        y.ravel(),
        np.broadcast_to(weight, x.shape).ravel(),
        np.broadcast_to(weight, y.shape).ravel(),
    )
    return distance / float(MARGINALS.sd[channel])


def test_it_is_scipy_s_distance_of_all_cases_together():
    members, truth = fields()
    found = compute(members, truth)
    for c in range(2):
        expected = oracle(members, truth, c)
        assert expected > 0.05
        # The stated bound is the spacing, 0.02; smooth marginals stay far below it.
        assert float(found[c]) == pytest.approx(expected, abs=(0.002, SPACING)[c])


def test_errors_of_opposite_sign_cancel_over_cases():
    """It is the distance of the climates, not the mean of the distances of single dates."""
    members, truth = fields()
    members[..., 0, :, :] += torch.tensor([9.0, -15.0, 9.0, -15.0]).reshape(4, 1, 1, 1, 1)
    single = [float(compute(members[i : i + 1], truth[i : i + 1])[0]) for i in range(4)]
    assert float(compute(members, truth)[0]) < 0.7 * np.mean(single)


def test_splitting_the_cases_does_not_matter():
    members, truth = fields()
    whole = compute(members, truth)
    for sizes in ([1] * 4, [3, 1]):
        torch.testing.assert_close(compute(members, truth, sizes=sizes), whole, rtol=1e-12, atol=0)


def test_missing_points_are_left_out():
    members, truth = fields()
    mask = torch.ones_like(truth, dtype=torch.bool)
    mask[..., 20:] = False
    cut = truth.masked_fill(~mask, math.nan)
    found = compute(members, cut, mask)
    torch.testing.assert_close(found, compute(members[..., :20], truth[..., :20]))


def test_values_beyond_the_range_count_as_its_end():
    weight = WEIGHTS[:, None].expand(1, 24, 3)
    members, truth = torch.full((2, 1, 24, 3), 1e4), torch.full((1, 24, 3), 280.0)
    difference = MARGINALS.difference(members, truth, weight, 0)
    assert float(wasserstein(difference)) == pytest.approx(8.0, abs=SPACING)


def test_standardisation_is_that_of_the_training_period():
    """Sample the climatology and its departures, and take their plain moments."""
    g = torch.Generator().manual_seed(1)
    scale = torch.tensor([9.0, 4, 3, 1, 2]).reshape(5, 1, 1, 1)
    harmonics = scale * torch.randn(5, 2, 24, 6, generator=g)
    sd = 0.5 + torch.rand(2, 24, 6, generator=g)
    normaliser = Normaliser(CHANNELS, harmonics, sd)
    time = torch.arange(0, 400, dtype=torch.float64)[:, None] * 365.2425 / 400
    states = normaliser.climatology(time)[:, 0]
    departures = torch.randn(states.shape, generator=g)
    values = (states + sd * departures).double()
    weight = WEIGHTS[:, None] / WEIGHTS.mean()
    mean = (values * weight).mean(dim=(0, 2, 3))
    spread = ((values - mean[:, None, None]).square() * weight).mean(dim=(0, 2, 3)).sqrt()
    found = Marginals.of(normaliser, WEIGHTS / WEIGHTS.mean())
    torch.testing.assert_close(found.mean, mean, rtol=0, atol=0.02)
    torch.testing.assert_close(found.sd, spread, rtol=3e-3, atol=0)
