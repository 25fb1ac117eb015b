from __future__ import annotations

import pytest
import torch

from slams.observations.backgrounds import (
    climatological,
    damped_persistence,
    from_states,
    recentring_offset,
)


def test_damped_persistence_of_a_known_process(generator):
    # An AR(1) process has coefficient a^k and error variance 1 - a^2k at lead k.
    a, leads = 0.8, torch.tensor([2.0, 3.0])
    start = torch.randn(20_000, 1, 2, 2, generator=generator)
    coefficient = (a**leads)[:, None, None, None].expand(2, 1, 2, 2)
    variance = 1 - coefficient**2
    background = damped_persistence(start, coefficient, variance)
    assert background.mean.shape == background.variance.shape == (20_000, 2, 1, 2, 2)
    noise = torch.randn(background.mean.shape, generator=generator)
    truth = coefficient * start[:, None] + variance.sqrt() * noise
    ratio = ((truth - background.mean) ** 2).mean(dim=0) / background.variance.mean(dim=0)
    assert float((ratio - 1).abs().max()) < 0.05
    assert background.kind == "damped_persistence"


def test_missing_previous_values_fall_back_to_climatology():
    previous = torch.tensor([[2.0, torch.nan]]).reshape(1, 1, 1, 2)
    coefficient = torch.full((3, 1, 1, 2), 0.5)
    variance = torch.full((3, 1, 1, 2), 0.75)
    background = damped_persistence(previous, coefficient, variance)
    assert background.mean[0, :, 0, 0].tolist() == [[1.0, 0.0]] * 3
    assert background.variance[0, :, 0, 0].tolist() == [[0.75, 1.0]] * 3


def test_climatological_background_knows_nothing():
    background = climatological((2, 3, 1, 4, 5))
    assert background.mean.shape == background.variance.shape == (2, 3, 1, 4, 5)
    assert float(background.mean.abs().max()) == 0
    assert float(background.variance.min()) == float(background.variance.max()) == 1
    assert background.kind == "climatology"
    variance = torch.rand(1, 4, 5)
    given = climatological((2, 3, 1, 4, 5), variance)
    assert torch.equal(given.variance, variance.expand(2, 3, 1, 4, 5))


def test_states_from_a_file_keep_their_gaps_harmless():
    states = torch.tensor([3.0, torch.nan]).reshape(1, 1, 1, 1, 2)
    background = from_states(states, torch.full((1, 1, 1, 2), 0.2))
    assert background.mean.reshape(-1).tolist() == [3.0, 0.0]
    assert background.variance.reshape(-1).tolist() == pytest.approx([0.2, 1.0])
    assert background.kind == "file"


def test_recentring_recovers_the_zonal_mean_bias(generator):
    bias = torch.randn(2, 1, 3, 12, 24, generator=generator) + 4
    climatology = torch.randn(2, 5, 3, 12, 24, generator=generator)
    offset = recentring_offset(climatology + bias, climatology)
    assert offset.shape == (2, 3, 12, 24)
    expected = bias[:, 0].mean(dim=-1, keepdim=True).expand(2, 3, 12, 24)
    torch.testing.assert_close(offset, expected)
    # Weather that averages out along a latitude is not bias.
    wave = torch.cos(torch.arange(24) * 2 * torch.pi / 24 * 3)
    again = recentring_offset(climatology + bias + 9 * wave, climatology)
    torch.testing.assert_close(again, expected, atol=1e-5, rtol=1e-5)


def test_recentring_averages_over_days_and_leaves_out_the_missing():
    climatology = torch.zeros(1, 2, 1, 3, 4)
    previous = torch.zeros(1, 2, 1, 3, 4)
    previous[0, 0, 0, 0], previous[0, 1, 0, 0] = 1.0, 3.0
    previous[0, 0, 0, 1] = torch.tensor([2.0, 2.0, 2.0, torch.nan])
    previous[0, 1, 0, 1] = torch.tensor([4.0, torch.nan, 2.0, torch.nan])
    previous[0, :, 0, 2] = torch.nan
    offset = recentring_offset(previous, climatology)[0, 0]
    assert offset[0].tolist() == [2.0] * 4
    # Time means 3, 2, 2 and nothing: their mean round the latitude.
    torch.testing.assert_close(offset[1], torch.full((4,), 7 / 3))
    assert offset[2].tolist() == [0.0] * 4
