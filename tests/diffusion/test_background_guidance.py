"""The background as an observation of the latent state, against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior, VESchedule, time_of_sigma
from slams.diffusion.posterior.background import BackgroundDenoiser, BackgroundGain, day_folds
from slams.errors import UserError

SHAPE = (1, 4, 2, 3)
SIZE = 24
EVERYWHERE = torch.arange(6).expand(6, 6)


def covariance(seed: int, scale: float) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    root = torch.randn(SIZE, SIZE, generator=draw, dtype=torch.float64)
    return scale * (root @ root.T / SIZE + 0.3 * torch.eye(SIZE, dtype=torch.float64))


B, C = covariance(1, 1.0), covariance(2, 0.6)


class Exact(Denoiser):
    """Gives E[z | z_t], or E[z | z_t, z_b] with z_b = slope z + e, e ~ N(0, C), as condition."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.schedule = VESchedule(sigma_min=1e-2, sigma_max=1e2)
        self.slope = slope

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor | None = None) -> DiracPosterior:
        _, sigma = self.schedule(t)
        precision = torch.linalg.inv(B) + torch.eye(SIZE) / sigma**2
        source = x_t.flatten(1) / sigma**2
        if condition is not None:
            weight = self.slope * torch.linalg.inv(C)
            precision = precision + self.slope * weight
            source = source + condition.flatten(1) @ weight
        return DiracPosterior(mean=torch.linalg.solve(precision, source.T).T.reshape(x_t.shape))


def days(count: int, slope: float, seed: int = 3, exact: bool = True) -> tuple[Tensor, ...]:
    """Draw truth, background and noise; their sample covariance is exact if asked for."""
    draw = torch.Generator().manual_seed(seed)
    white = torch.randn(count, 3 * SIZE, generator=draw, dtype=torch.float64)
    if exact:
        white, _ = torch.linalg.qr(white - white.mean(dim=0))
        white = (count - 1) ** 0.5 * white
    z = white[:, :SIZE] @ torch.linalg.cholesky(B).T
    background = slope * z + white[:, SIZE : 2 * SIZE] @ torch.linalg.cholesky(C).T
    return tuple(x.reshape(count, *SHAPE) for x in (z, background, white[:, 2 * SIZE :]))


def when(sigma: float) -> tuple[Tensor, Tensor]:
    level = torch.tensor(sigma, dtype=torch.float64)
    return level, time_of_sigma(level, Exact().schedule)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_it_is_the_denoiser_that_has_seen_the_background(sigma: float, slope: float) -> None:
    z, background, noise = days(200, slope)
    level, time = when(sigma)
    plain = Exact(slope)
    denoised = plain(z + sigma * noise, time).mean
    gain = BackgroundGain.fit(z, background, denoised, EVERYWHERE)
    informed = BackgroundDenoiser(plain, level[None], [gain], conditioned=False)
    z, background, noise = days(5, slope, seed=4, exact=False)
    x_t = z + sigma * noise
    expected = plain(x_t, time, condition=background).mean
    found = informed(x_t, time, condition=background).mean
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    # The test has teeth: the background matters, and so do the correlations of its error.
    if sigma >= 1:
        assert float((plain(x_t, time).mean - expected).abs().max()) > 0.1
        alone = torch.arange(6)[:, None]
        one = BackgroundGain.fit(*days(200, slope)[:2], denoised, alone)
        found = one.correct(plain(x_t, time).mean, background)
        assert float((found - expected).abs().max()) > 0.1


def test_a_denoiser_that_uses_its_condition_well_is_left_alone() -> None:
    """Both: nothing is counted twice."""
    z, background, noise = days(200, 1.0)
    level, time = when(1.0)
    denoised = Exact()(z + noise, time, condition=background).mean
    gain = BackgroundGain.fit(z, background, denoised, EVERYWHERE)
    assert float(gain.weights.abs().max()) < 1e-10
    both = BackgroundDenoiser(Exact(), level[None], [gain], conditioned=True)
    torch.testing.assert_close(both(z + noise, time, condition=background).mean, denoised)


def test_errors_of_held_out_days_are_as_large_as_those_of_new_days() -> None:
    z, background, noise = days(150, 1.0, exact=False)
    _, time = when(2.0)
    gain = BackgroundGain.fit(z, background, Exact()(z + 2 * noise, time).mean, EVERYWHERE)

    def error(days: tuple[Tensor, ...], fold: int | None = None) -> Tensor:
        z, background, noise = days
        return z - gain.correct(Exact()(z + 2 * noise, time).mean, background, fold)

    fold = day_folds(150)
    held_out = torch.cat(
        [
            error((z[fold == k], background[fold == k], noise[fold == k]), k)
            for k in range(len(gain.held_out))
        ]
    )
    fresh = error(days(4000, 1.0, seed=9, exact=False)).square().mean()
    assert float(held_out.square().mean() / fresh) == pytest.approx(1, abs=0.1)
    assert float(error((z, background, noise)).square().mean() / fresh) < 0.85


def test_points_that_are_not_near_have_no_say() -> None:
    z, background, noise = days(200, 1.0)
    _, time = when(1.0)
    denoised = Exact()(z + noise, time).mean
    near = torch.tensor([[0, 1], [1, 0], [2, 1], [3, 4], [4, 3], [5, 4]])
    gain = BackgroundGain.fit(z, background, denoised, near)
    other = background[:1].clone()
    other[..., 1, :] += 7.0  # points 3, 4 and 5
    moved = gain.correct(denoised[:1], other) - gain.correct(denoised[:1], background[:1])
    assert float(moved[..., 0, :].abs().max()) == 0
    assert float(moved[..., 1, :].abs().min()) > 0


def test_too_few_days_are_refused() -> None:
    z, background, noise = days(47, 1.0, exact=False)
    with pytest.raises(UserError, match=r"guidance\.archive': found 47 days .* at least 48"):
        BackgroundGain.fit(z, background, noise, EVERYWHERE)
