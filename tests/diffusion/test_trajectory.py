"""Composition of windows: against the closed form of a Gauss-Markov chain, and its bookkeeping."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior, VESchedule, time_of_sigma
from slams.diffusion.sampling import sample
from slams.diffusion.settings import SamplerSettings
from slams.diffusion.trajectory import TrajectoryDenoiser
from slams.errors import UserError

LENGTH = 11
# Two components a day, coupled: x_i = A x_(i-1) + noise, of unit-order stationary variance.
TRANSITION = torch.tensor([[0.7, 0.3], [-0.2, 0.6]], dtype=torch.float64)


def _stationary() -> Tensor:
    """Return the stationary covariance (2, 2) for unit noise, by summing the series."""
    total, power = torch.zeros(2, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    for _ in range(200):
        total, power = total + power @ power.T, TRANSITION @ power
    return total


def _chain(days: int, transition: Tensor = TRANSITION) -> Tensor:
    """Return the covariance of some days of the stationary chain, `(2 days, 2 days)`."""
    now = _stationary()
    blocks = [[torch.empty(0)] * days for _ in range(days)]
    for i in range(days):
        for j in range(i + 1):
            lagged = torch.linalg.matrix_power(transition, i - j) @ now
            blocks[i][j], blocks[j][i] = lagged, lagged.T
    return torch.cat([torch.cat(row, dim=1) for row in blocks])


class _Exact(Denoiser):
    """Gives E[x | x_t] of `(B, T, n)` Gaussian windows; keeps what it was given."""

    def __init__(self, covariance: Tensor) -> None:
        super().__init__()
        self.schedule = VESchedule(sigma_min=1e-5, sigma_max=1e5)
        self.covariance = covariance
        self.given: list[dict] = []

    def forward(self, x_t: Tensor, t: Tensor, **condition) -> DiracPosterior:
        self.given.append({"x": x_t, "t": t, **condition})
        sigma_t = self.schedule(t)[1].reshape(-1, 1, 1)
        values, vectors = torch.linalg.eigh(self.covariance)
        shrink = values / (values + sigma_t[..., 0] ** 2)
        flat = x_t.flatten(1) @ vectors * shrink
        return DiracPosterior(mean=(flat @ vectors.T).reshape(x_t.shape))


def _time(sigma: float) -> Tensor:
    schedule = VESchedule(sigma_min=1e-5, sigma_max=1e5)
    return time_of_sigma(torch.tensor(sigma, dtype=torch.float64), schedule)


def _composed(window: int, **settings) -> TrajectoryDenoiser:
    return TrajectoryDenoiser(_Exact(_chain(window)), window, **settings)


def _noisy(sigma: float, size: int = 400) -> Tensor:
    draw = torch.Generator().manual_seed(2)
    covariance = _chain(LENGTH)
    x_t = torch.randn(size, len(covariance), generator=draw, dtype=torch.float64)
    total = covariance + sigma**2 * torch.eye(len(covariance), dtype=torch.float64)
    return (x_t @ torch.linalg.cholesky(total).T).reshape(size, LENGTH, 2)


def _score_error(window: int, sigma: float) -> float:
    """Return the rms difference of composed and full score, relative to the full score's rms."""
    x_t = _noisy(sigma)
    full = _Exact(_chain(LENGTH))(x_t, _time(sigma)).mean
    composed = _composed(window)(x_t, _time(sigma)).mean
    rms = ((full - x_t) / sigma**2).square().mean().sqrt()
    return float(((composed - full) / sigma**2).square().mean().sqrt() / rms)


@pytest.mark.parametrize(("window", "order"), [(3, 2), (5, 4), (7, 6)])
def test_without_noise_the_composed_score_is_the_full_score(window: int, order: int) -> None:
    """A tenth of the noise takes the error down by 10^(T - 1): it is of the order sigma^(2 k)."""
    errors = [_score_error(window, sigma) for sigma in (0.1, 0.01)]
    assert errors[0] < 0.01
    assert errors[1] < 10.0 ** (0.4 - order) * errors[0] + 1e-10  # and what rounding leaves


def test_a_blanket_that_is_too_small_is_not_exact() -> None:
    """Windows of one day know nothing of the neighbours: the score is wrong at any noise."""
    assert _score_error(1, 1e-3) > 0.3


@pytest.mark.parametrize("sigma", [0.2, 1.0, 5.0])
def test_the_error_under_noise_falls_with_the_blanket(sigma: float) -> None:
    errors = [_score_error(window, sigma) for window in (3, 5, 7, 9)]
    for wider, narrower in zip(errors[1:], errors, strict=False):
        assert wider < 0.75 * narrower
    assert errors[0] < 0.2


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 50.0])
def test_one_window_is_exact_at_any_noise(sigma: float) -> None:
    assert _score_error(LENGTH, sigma) < 1e-12


def test_denoised_means_agree_where_noise_hides_everything() -> None:
    sigma = 1e4
    x_t = _noisy(sigma)
    difference = (
        _composed(3)(x_t, _time(sigma)).mean - _Exact(_chain(LENGTH))(x_t, _time(sigma)).mean
    )
    assert float(difference.abs().max()) < 1e-2


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_independent_days_are_exact_at_any_noise(sigma: float) -> None:
    none = torch.zeros_like(TRANSITION)
    full, window = _Exact(_chain(LENGTH, none)), _Exact(_chain(3, none))
    x_t = _noisy(sigma)
    torch.testing.assert_close(
        TrajectoryDenoiser(window, 3)(x_t, _time(sigma)).mean,
        full(x_t, _time(sigma)).mean,
        rtol=1e-10,
        atol=1e-10,
    )


def _sampled_error(window: int) -> float:
    """Return the largest error of the samples' covariance, in units of the chain's variances.

    The sampler is linear here, so that the samples which unit vectors of noise give are the
    columns of its matrix: there is no Monte-Carlo error.
    """
    expected = _chain(LENGTH)
    unit = torch.eye(len(expected), dtype=torch.float64).reshape(-1, LENGTH, 2)
    denoiser = _composed(window)
    denoiser.denoiser.schedule = VESchedule(sigma_min=1e-2, sigma_max=1e2)
    config = SamplerSettings(steps=64, centred=False)  # the noise is a basis, not a sample
    matrix = sample(denoiser, config, lambda member, stream: unit[member], len(unit)).members
    found = matrix.flatten(1).T @ matrix.flatten(1)
    sd = expected.diagonal().sqrt()
    return float(((found - expected) / (sd[:, None] * sd)).abs().max())


def test_samples_of_the_composition_approach_the_chain() -> None:
    """The covariance between all days, those of different windows too."""
    errors = [_sampled_error(window) for window in (1, 3, 5, 7, LENGTH)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.5
    assert errors[3] < 0.08
    assert errors[-1] < 0.02


def test_each_day_is_read_off_its_window() -> None:
    """A denoiser that gives the place in the window and the window's first day."""

    class _Places(_Exact):
        def forward(self, x_t, t, **condition):
            places = torch.arange(x_t.shape[1]).expand(x_t.shape)
            return DiracPosterior(mean=100.0 * x_t[:, :1] + places)

    denoiser = TrajectoryDenoiser(_Places(_chain(5)), 5, chunk=3)
    found = denoiser(torch.arange(8.0)[None], torch.tensor(0.5)).mean
    assert found.tolist() == [[0.0, 1.0, 2.0, 102.0, 202.0, 302.0, 303.0, 304.0]]


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_chunks_change_nothing(chunk: int) -> None:
    x_t, t = _noisy(1.0, 3), _time(1.0).expand(3)
    torch.testing.assert_close(_composed(5, chunk=chunk)(x_t, t).mean, _composed(5)(x_t, t).mean)


def test_times_and_conditions_reach_the_windows() -> None:
    denoiser = _composed(3, conditioned=2, season_step=0.25)
    x_t = _noisy(1.0, 2)[:, :6]
    condition = torch.arange(12.0).reshape(2, 6, 1)
    denoiser(
        x_t,
        torch.tensor([0.2, 0.4], dtype=torch.float64),
        condition=condition,
        known=torch.tensor([True, False]),
        season=torch.tensor([0.5, 0.1]),
        other=torch.tensor([7, 8]),
    )
    (given,) = denoiser.denoiser.given
    assert given["x"][5].equal(x_t[1, 1:4])
    assert given["t"].tolist() == [0.2] * 4 + [0.4] * 4
    assert given["condition"][..., 0].tolist()[:2] == [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
    assert given["condition"][4, :, 0].tolist() == [6.0, 7.0, 8.0]
    assert given["known"].tolist() == [True, True] + [False] * 6
    torch.testing.assert_close(
        given["season"], torch.tensor([0.5, 0.75, 0.0, 0.25, 0.1, 0.35, 0.6, 0.85])
    )
    assert given["other"].tolist() == [7] * 4 + [8] * 4


def test_hidden_conditions_stay_hidden_and_absent_ones_absent() -> None:
    denoiser = _composed(3, conditioned=1)
    denoiser(_noisy(1.0, 1)[:, :4], _time(1.0), condition=None, season=None)
    (given,) = denoiser.denoiser.given
    assert given["condition"] is None
    assert given["season"] is None
    assert "known" not in given


def test_gradients_reach_the_trajectory() -> None:
    """The guidance that needs Jacobian products differentiates through the composition."""
    x_t = _noisy(1.0, 1).requires_grad_()
    _composed(3, chunk=2)(x_t, _time(1.0)).mean[:, 5].sum().backward()
    moved = x_t.grad[0].abs().sum(dim=-1) > 0
    assert moved.tolist() == [4 <= day <= 6 for day in range(LENGTH)]


@pytest.mark.parametrize("window", [0, 2, 4])
def test_windows_without_a_middle_are_refused(window: int) -> None:
    with pytest.raises(UserError, match=f"odd number of days.*found {window}, expected"):
        TrajectoryDenoiser(_Exact(_chain(3)), window)


def test_trajectories_shorter_than_a_window_are_refused() -> None:
    with pytest.raises(UserError, match="trajectory of 4 days, expected at least the 5"):
        _composed(5)(_noisy(1.0, 1)[:, :4], _time(1.0))
