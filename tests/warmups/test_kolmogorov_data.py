"""Trajectories of the Kolmogorov flow: their symmetries, their seeds and their climatology."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slams.runtime.seeds import generator
from slams.warmups.kolmogorov_data import (
    climatology,
    half_turn,
    mirror,
    simulate,
    transformed,
)
from slams.warmups.kolmogorov_flow import KolmogorovFlow, vorticity
from slams.warmups.recipes import FlowConfig

FLOW = KolmogorovFlow(16, reynolds=100.0, wave_number=2)


def advanced(velocity: torch.Tensor) -> torch.Tensor:
    return FLOW.velocity(FLOW.advance(vorticity(velocity), 0.5, 10))


@pytest.mark.parametrize(
    "symmetry", [half_turn, lambda v: mirror(v, 2), lambda v: v.roll((8, 3), dims=(-2, -1))]
)
def test_symmetries_commute_with_the_flow(symmetry) -> None:
    velocity = FLOW.velocity(FLOW.random_phases(2, 0.5, 3.0, generator(0, "x"), torch.float64))
    moved = symmetry(velocity)
    assert not torch.allclose(moved, velocity, atol=0.1)
    torch.testing.assert_close(advanced(moved), symmetry(advanced(velocity)))


def test_a_shift_that_is_no_wave_of_the_forcing_does_not_commute() -> None:
    velocity = FLOW.velocity(FLOW.random_phases(1, 0.5, 3.0, generator(0, "x"), torch.float64))
    assert not torch.allclose(
        advanced(velocity.roll(3, dims=-2)), advanced(velocity).roll(3, dims=-2), atol=0.1
    )


def test_each_window_is_transformed_by_itself_and_by_symmetries_alone() -> None:
    velocity = FLOW.velocity(FLOW.random_phases(1, 0.5, 3.0, generator(0, "x"), torch.float64))
    pairs = torch.stack([velocity, advanced(velocity)], dim=1).expand(12, -1, -1, -1, -1)
    windows = transformed(pairs, 2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(advanced(windows[:, 0]), windows[:, 1])
    assert len({round(float(w[0, 0, 0, 0]), 9) for w in windows}) > 8


def test_a_trajectory_depends_on_its_seed_and_number_alone() -> None:
    settings = FlowConfig(
        integration=16, grid=8, reynolds=100.0, wave_number=2, interval=0.1, spin_up=1
    )
    three = simulate(settings, 3, 2, 1, "train")
    assert three.shape == (3, 2, 2, 8, 8)
    assert three.dtype == torch.float32
    torch.testing.assert_close(simulate(settings, 2, 2, 1, "train"), three[:2])
    assert not torch.allclose(simulate(settings, 3, 2, 2, "train"), three, atol=0.1)
    assert not torch.allclose(simulate(settings, 3, 2, 1, "test"), three)
    later = simulate(replace(settings, spin_up=2), 3, 1, 1, "train")
    torch.testing.assert_close(later, three[:, 1:])


def test_the_climatology_has_the_symmetries_of_the_flow() -> None:
    velocity = torch.randn(4, 3, 2, 16, 16, generator=torch.Generator().manual_seed(0)) + 0.3
    found = climatology(velocity, 2)
    mean = found.mean.expand(2, 16, 16)
    assert mean[0].abs().max() > 1e-3
    assert mean[1].abs().max() == 0
    torch.testing.assert_close(half_turn(mean), mean)
    torch.testing.assert_close(mirror(mean, 2), mean)
    anomalies = found.anomalies(velocity)
    torch.testing.assert_close(anomalies.square().mean(), torch.tensor(1.0))
    torch.testing.assert_close(found.velocity(anomalies), velocity)
