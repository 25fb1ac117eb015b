"""The Lorenz chain, its particle filter and the distance of trajectories: known answers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from slams.runtime.seeds import generator
from slams.warmups.lorenz63 import Lorenz63, destandardise, standardise
from slams.warmups.particle_filter import bootstrap_filter, systematic
from slams.warmups.transport import wasserstein


def test_the_fixed_points_stay() -> None:
    system = Lorenz63()
    radius = math.sqrt(system.aspect * (system.rayleigh - 1))
    points = torch.tensor(
        [[0, 0, 0], [radius, radius, 27], [-radius, -radius, 27]], dtype=torch.float64
    )
    assert torch.allclose(system.tendency(points), torch.zeros(3, 3).double(), atol=1e-12)
    assert torch.allclose(system.flow(points), points, atol=1e-12)


def test_the_step_is_of_fourth_order() -> None:
    start = torch.tensor([[1.0, 3.0, 20.0], [-8.0, -2.0, 30.0]], dtype=torch.float64)

    def after(steps: int) -> Tensor:
        system, x = Lorenz63(dt=0.2 / steps), start
        for _ in range(steps):
            x = system.flow(x)
        return x

    exact = after(2048)
    errors = [float((after(steps) - exact).norm()) for steps in (32, 64, 128)]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(4, abs=0.25)


def test_log_densities_of_the_dynamics() -> None:
    system = Lorenz63()
    keyed = generator(1, "test")
    x = system.trajectories(system.spun_up(5, 50, keyed), 9, keyed).double()
    steps = Independent(Normal(system.flow(x[:, :-1]), math.sqrt(system.dt)), 1)
    assert torch.allclose(system.log_dynamics(x), steps.log_prob(x[:, 1:]).sum(dim=1))
    pairs = system.log_transitions(x[:, 3], x[:, 2])
    assert torch.allclose(pairs.diagonal(), steps.log_prob(x[:, 1:])[:, 2])
    assert torch.allclose(pairs[0, 4], system.log_transition(x[0, 3], x[4, 2]))


def test_noise_of_a_step_has_the_variance_of_its_length() -> None:
    system = Lorenz63()
    x = torch.tensor([[1.0, 2.0, 20.0]]).expand(40000, 3)
    error = system.step(x, generator(2, "test")) - system.flow(x)
    assert error.var(dim=0).tolist() == pytest.approx([0.025] * 3, rel=0.03)


def test_standardised_states_of_a_long_run() -> None:
    system = Lorenz63()
    x = standardise(system.spun_up(20000, 400, generator(3, "test")))
    assert x.std(dim=0).tolist() == pytest.approx([1, 1, 1], abs=0.05)
    assert x.mean(dim=0).abs().max() < 0.2
    assert torch.allclose(standardise(destandardise(x)), x, atol=1e-5)


def test_systematic_resampling_rounds_each_share() -> None:
    weights = torch.tensor([0.1, 0.0, 0.45, 0.45])
    counts = torch.bincount(systematic(weights, 20, generator(4, "test")), minlength=4)
    assert counts.tolist() == [2, 0, 9, 9]


# A stationary chain x' = a x + sqrt(1 - a^2) n, observed every two steps, in closed form.
A, ERROR, LENGTH, EVERY = 0.9, 0.5, 9, 2


def _smoother(y: Tensor) -> tuple[Tensor, Tensor]:
    time = torch.arange(LENGTH, dtype=torch.float64)
    prior = A ** (time[:, None] - time).abs()
    gain = torch.linalg.solve(
        prior[::EVERY, ::EVERY] + ERROR**2 * torch.eye(len(y)), prior[::EVERY]
    ).T
    return gain @ y, prior - gain @ prior[::EVERY]


def test_trajectories_of_a_linear_chain_are_those_of_the_kalman_smoother() -> None:
    count, spread = 20000, math.sqrt(1 - A**2)
    y = torch.tensor([0.9, -0.4, 0.3, 1.2, 0.1], dtype=torch.float64)
    keyed = generator(5, "test")

    def step(x: Tensor, keyed: torch.Generator) -> Tensor:
        return A * x + spread * torch.randn(x.shape, generator=keyed, dtype=x.dtype)

    def normal(x: Tensor, mean: Tensor, sd: float) -> Tensor:
        return -0.5 * ((x - mean) / sd).square() - math.log(sd * math.sqrt(2 * math.pi))

    start = torch.randn(count, 1, generator=keyed, dtype=torch.float64)
    filtered = bootstrap_filter(
        start, y[:, None], EVERY, step, lambda o, x: normal(o, x, ERROR).sum(dim=1), keyed
    )
    mean, covariance = _smoother(y)
    sd = covariance.diagonal().sqrt()
    trajectories = {
        "lineages": filtered.lineages(count, keyed),
        "backward": filtered.backward(
            1500, lambda after, before: normal(after, A * before.T, spread), keyed, among=1000
        ),
    }
    for name, x in trajectories.items():
        error = ((x[..., 0].mean(dim=0) - mean) / sd).abs().max()
        assert error < 0.12, name
        assert torch.allclose(torch.cov(x[..., 0].T), covariance, atol=0.05), name
    time = torch.arange(0, LENGTH, EVERY, dtype=torch.float64)
    total = A ** (time[:, None] - time).abs() + ERROR**2 * torch.eye(5)
    evidence = torch.distributions.MultivariateNormal(torch.zeros(5).double(), total).log_prob(y)
    assert filtered.log_evidence == pytest.approx(float(evidence), abs=0.05)
    # Lineages coalesce; backward simulation undoes it.
    survivors = filtered.survivors()
    assert survivors[-1] == count
    assert (survivors.diff() >= 0).all()
    assert len(trajectories["backward"][:, 0].unique()) > 600
    filtered_only = filtered.states[4].mean()
    assert abs(filtered_only - mean[4]) > 0.1  # the future does tell


def test_the_earth_movers_distance_of_known_sets() -> None:
    keyed = generator(6, "test")
    x = torch.randn(50, 4, 3, generator=keyed)
    shift = torch.full((4, 3), 0.5)
    assert wasserstein(x, x[torch.randperm(50, generator=keyed)]) == pytest.approx(0, abs=1e-6)
    # A translation is optimal: every set, every cost.
    assert wasserstein(x, x + shift) == pytest.approx(0.5 * math.sqrt(12), rel=1e-5)
    a, b = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[5.0], [0.0], [1.0]])
    assert wasserstein(a, b) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="equal sizes"):
        wasserstein(a, b[:2])
