"""Censored observations against quadrature, rejection sampling and derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from slams.linalg import censoring
from slams.linalg.censoring import (
    departure_square,
    inverse_mills,
    linearised_observations,
    truncated_normal,
)
from slams.linalg.solution import factorise


def ordered(s: Tensor, silent: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return the factor, silent observations last, the order, and the number of the others."""
    order = torch.argsort(silent.to(torch.int8), stable=True)
    return factorise(s[order][:, order]), order, int((~silent).sum())


def solve_censored(s: Tensor, d: Tensor, silent: Tensor) -> Tensor:
    """Solve for `(J, P)` departures in any order; `(P, J)`."""
    factor, order, heard = ordered(s, silent)
    found = censoring.solve_censored(factor, d[:, order].T.double(), heard)
    return torch.empty_like(found).index_copy_(0, order, found)


def equivalent_observations(
    s: Tensor, d: Tensor, r: Tensor, silent: Tensor
) -> tuple[Tensor, Tensor]:
    """Replace the silent among `(P,)` observations in any order."""
    factor, order, heard = ordered(s, silent)
    value, error = censoring.equivalent_observations(factor, d[order], r[order], heard)
    d, r = d.clone(), r.clone()
    d[silent], r[silent] = value, error
    return d, r


def quadrature(mean: float, variance: float, y: float, error: float) -> tuple[float, float]:
    """Integrate prior times likelihood of y = max(0, h + e) on a grid: posterior mean and sd."""
    reach = 12 * variance**0.5
    h = torch.linspace(mean - reach, mean + reach, 200_001, dtype=torch.float64)
    log = -0.5 * (h - mean).square() / variance
    if y > 0:
        log = log - 0.5 * ((y - h) / error).square()
    else:
        log = log + torch.special.log_ndtr(-h / error)
    weight = (log - log.max()).exp()
    weight = weight / weight.sum()
    centre = (weight * h).sum()
    return float(centre), float((weight * (h - centre).square()).sum().sqrt())


@pytest.mark.parametrize("y", [0.0, 0.4])
@pytest.mark.parametrize("error", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("mean", [-2.0, 0.0, 0.5, 3.0])
def test_one_observation_gives_the_posterior_by_quadrature(
    y: float, error: float, mean: float
) -> None:
    """Mean and sd, whether the report is silent or not, and by both ways of conditioning."""
    variance = 0.8
    expected, sd = quadrature(mean, variance, y, error)
    silent = torch.tensor([y == 0])
    s = torch.tensor([[variance + error**2]], dtype=torch.float64)
    d = torch.tensor([y - mean], dtype=torch.float64)
    r = torch.tensor([error**2], dtype=torch.float64)
    found, r = equivalent_observations(s, d, r, silent)
    gain = variance / (variance + float(r))
    assert mean + gain * float(found) == pytest.approx(expected, abs=2e-5 * variance**0.5)
    assert ((1 - gain) * variance) ** 0.5 == pytest.approx(sd, rel=2e-5)
    weight = float(solve_censored(s, d[None], silent))
    assert mean + variance * weight == pytest.approx(expected, abs=2e-5 * variance**0.5)


def test_moments_of_a_truncated_normal_do_not_lose_their_digits() -> None:
    mean = torch.tensor([5.0, 30.0, 1e3, -5.0], dtype=torch.float64)
    one, zero = torch.ones_like(mean), torch.zeros_like(mean)
    found, variance = truncated_normal(mean, one, zero)
    # Far above the bound: -1 / a + 2 / a^3 and 1 / a^2 - 6 / a^4 to leading orders.
    torch.testing.assert_close(found[1:3], (-1 / mean + 2 / mean**3)[1:3], rtol=1e-4, atol=0)
    torch.testing.assert_close(variance[1:3], (1 / mean**2 - 6 / mean**4)[1:3], rtol=2e-3, atol=0)
    assert float(found[3]) == pytest.approx(-5, abs=1e-5)
    assert bool(((variance > 0) & (variance <= 1)).all())
    sides = torch.tensor([29.999, 30.001], dtype=torch.float64)
    _, variance = truncated_normal(sides, torch.ones(2).double(), torch.zeros(2).double())
    assert float(variance[0] / variance[1]) == pytest.approx(1 + 2 * 0.002 / 30, abs=2e-6)
    assert bool(torch.isfinite(inverse_mills(torch.tensor([-1e6, 1e6]))).all())


def spatial(count: int, seed: int = 0) -> Tensor:
    points = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)).double()
    return torch.exp(-torch.cdist(points, points) / 0.4)


def rejection(s: Tensor, departure: Tensor, silent: Tensor) -> Tensor:
    """Draw the silent u given the other reports and keep those below their bounds."""
    draw = torch.Generator().manual_seed(1)
    heard = ~silent
    gain = torch.linalg.solve(s[heard][:, heard], s[heard][:, silent]).T
    rest = s[silent][:, silent] - gain @ s[heard][:, silent]
    known = gain @ departure[heard]
    noise = torch.randn(300_000, int(silent.sum()), generator=draw, dtype=torch.float64)
    u = known + noise @ torch.linalg.cholesky(rest).T
    return u[(u <= departure[silent]).all(dim=1)]


def test_several_correlated_silent_observations_agree_with_rejection_sampling() -> None:
    s = spatial(5) + 0.2 * torch.eye(5, dtype=torch.float64)
    departure = torch.tensor([0.9, -0.3, 0.1, -0.8, -0.2], dtype=torch.float64)
    silent = torch.tensor([False, True, True, False, True])
    kept = rejection(s, departure, silent)
    assert len(kept) > 10_000
    expected = departure.clone()
    expected[silent] = kept.mean(dim=0)
    found = s @ solve_censored(s, departure[None], silent)[:, 0]
    sd = kept.std(dim=0)
    torch.testing.assert_close(found[~silent], departure[~silent])
    assert float(((found - expected)[silent].abs() / sd).max()) < 0.02
    # The test has teeth: taking zero for a number, or dropping the report, is far from it.
    assert float((departure - expected)[silent].abs().min() / sd.max()) > 0.5
    # As Gaussian observations of h = u - e, one pass for the mean and the spread of all of h.
    r = torch.full((5,), 0.2, dtype=torch.float64)
    p = s - torch.diag(r)
    d, error = equivalent_observations(s, departure, r, silent)
    torch.testing.assert_close(d[~silent], departure[~silent])
    torch.testing.assert_close(error[~silent], r[~silent])
    gain = torch.linalg.solve(p + torch.diag(error), p).T
    # E[h | y] = P S^-1 E[u | y]; Cov(h | y) = P - P S^-1 (S - Cov(u | y)) S^-1 P.
    full = torch.zeros(5, 5, dtype=torch.float64)
    full[silent.nonzero(), silent.nonzero().T] = torch.cov(kept.T)
    through = torch.linalg.solve(s, p).T
    covariance = p - through @ (s - full) @ through.T
    assert float((gain @ d - through @ expected).abs().max()) < 0.02
    ratio = (p - gain @ p).diagonal().sqrt() / covariance.diagonal().sqrt()
    assert float((ratio - 1).abs().max()) < 0.02


def test_without_silent_observations_nothing_changes() -> None:
    s = spatial(6) + 0.1 * torch.eye(6, dtype=torch.float64)
    d = torch.randn(3, 6, generator=torch.Generator().manual_seed(2))
    nowhere = torch.zeros(6, dtype=torch.bool)
    torch.testing.assert_close(s @ solve_censored(s, d, nowhere), d.T.double())


@pytest.mark.parametrize("members", [3, 4])
def test_members_do_not_see_one_another(members: int) -> None:
    """Nor where there are as many of them as silent observations, four."""
    s = spatial(6) + 0.1 * torch.eye(6, dtype=torch.float64)
    d = torch.randn(members, 6, generator=torch.Generator().manual_seed(2))
    silent = torch.tensor([True, False, True, True, False, True])
    many = solve_censored(s, d, silent)
    torch.testing.assert_close(solve_censored(s, d[1:2], silent), many[:, 1:2])


def test_a_silent_observation_far_below_its_bound_says_nothing() -> None:
    s = spatial(3) + 0.1 * torch.eye(3, dtype=torch.float64)
    d = torch.tensor([0.4, 80.0, 60.0], dtype=torch.float64)
    silent = torch.tensor([False, True, True])
    found = spatial(3) @ solve_censored(s, d[None], silent)[:, 0]
    alone = spatial(3)[:, 0] / s[0, 0] * 0.4
    torch.testing.assert_close(found, alone)
    d, r = equivalent_observations(s, d, torch.full((3,), 0.1, dtype=torch.float64), silent)
    gain = torch.linalg.solve(spatial(3) + torch.diag(r), spatial(3)).T
    torch.testing.assert_close(gain @ d, alone, rtol=1e-4, atol=1e-5)
    assert float(r[1:].min()) > 1e4


def test_linearised_observations_have_the_slope_and_curvature_of_the_likelihood() -> None:
    h = torch.tensor([[-0.5, 0.2, 1.5, 4.0]], dtype=torch.float64, requires_grad=True)
    r = torch.tensor([0.5, 0.1, 0.3, 0.3], dtype=torch.float64)
    silent = torch.tensor([True, True, True, False])
    y = torch.tensor([0.0, 0.0, 0.0, 3.0], dtype=torch.float64)
    log = torch.where(
        silent, torch.special.log_ndtr(-h / r.sqrt()), -0.5 * (y - h).square() / r
    ).sum()
    (slope,) = torch.autograd.grad(log, h, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), h)
    d, error = linearised_observations((y - h).detach(), r, silent)
    torch.testing.assert_close(d / error, slope.detach())
    torch.testing.assert_close(1 / error, -curvature)


@pytest.mark.parametrize("prediction", [-2.0, 0.0, 0.3, 5.0])
def test_expected_square_of_a_censored_departure_by_quadrature(prediction: float) -> None:
    variance, bound = 0.49, -0.5
    n = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    density = torch.exp(-0.5 * n.square()) / math.sqrt(2 * math.pi)
    values = (prediction + math.sqrt(variance) * n).clamp(min=bound)
    expected = torch.trapezoid((values - prediction).square() * density, n)
    given = torch.tensor([prediction - bound]).double(), torch.tensor([variance]).double()
    assert float(departure_square(*given, bound)) == pytest.approx(float(expected), rel=1e-6)
    assert torch.equal(departure_square(*given, -math.inf), given[1])
