"""A denoiser centred on the background: exact for Gaussian departures, plain where hidden."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slams.diffusion.backend import KarrasDenoiser, VESchedule, time_of_sigma
from slams.diffusion.centred import CentredDenoiser, with_backbone
from slams.diffusion.training import NoiseDraw, denoising_loss

SD = torch.tensor([0.3, 0.8, 1.5])
SCHEDULE = VESchedule(sigma_min=1e-2, sigma_max=1e2)


class _Affine(nn.Module):
    """A network that depends on every input, to see that both denoisers pass them on."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = nn.Parameter(torch.tensor(size))

    def forward(
        self,
        x: Tensor,
        log_sigma: Tensor,
        condition: Tensor | None = None,
        known: Tensor | None = None,
        season: Tensor | None = None,
    ) -> Tensor:
        wide = [-1] + [1] * (x.ndim - 1)
        total = x + log_sigma.expand(len(x)).reshape(wide) + season.reshape(wide)
        if condition is not None:
            age = torch.ones(len(x)) if known is None else known.to(x)
            total = total + torch.where(age.reshape(wide) > 0, condition + age.reshape(wide), 0.0)
        return self.size * total


def states(size: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    x, condition = (torch.randn(size, 2, 3, 4, 5, generator=draw) for _ in range(2))
    return x, condition, torch.rand(size, generator=draw)


def denoisers(size: float) -> tuple[CentredDenoiser, KarrasDenoiser]:
    network = _Affine(size)
    return CentredDenoiser(network, SCHEDULE, SD), KarrasDenoiser(network, SCHEDULE)


def test_a_network_of_zeros_is_exact_for_gaussian_departures() -> None:
    """For `z ~ N(c, s^2)` and `z_t = z + sigma n`: `E[z | z_t] = (sigma^2 c + s^2 z_t) / (..)`."""
    x, condition, season = states()
    centred, _ = denoisers(0.0)
    sigma = torch.tensor([0.02, 0.5, 3.0, 50.0])
    time = time_of_sigma(sigma, SCHEDULE)
    found = centred(x, time, condition=condition, season=season).mean
    noise, prior = sigma.reshape(-1, 1, 1, 1, 1).square(), SD.reshape(-1, 1, 1).square()
    expected = (noise * condition + prior * x) / (noise + prior)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_hidden_background_leaves_the_plain_denoiser() -> None:
    x, condition, season = states()
    centred, plain = denoisers(0.7)
    time = time_of_sigma(torch.tensor(0.8), SCHEDULE)
    expected = plain(x, time, season=season).mean
    torch.testing.assert_close(centred(x, time, season=season).mean, expected)
    hidden = centred(x, time, condition=condition, known=torch.zeros(4), season=season).mean
    torch.testing.assert_close(hidden, expected)
    some = torch.tensor([1.0, 0.0, 2.5, 0.0])
    mixed = centred(x, time, condition=condition, known=some, season=season).mean
    torch.testing.assert_close(mixed[1::2], expected[1::2])
    alone = centred(x[:1], time, condition=condition[:1], known=some[:1], season=season[:1]).mean
    torch.testing.assert_close(mixed[:1], alone)
    assert not torch.allclose(mixed[::2], expected[::2], atol=0.1)


def test_with_unit_departures_about_zero_it_is_the_plain_denoiser() -> None:
    x, condition, season = states()
    network = _Affine(0.4)
    centred = CentredDenoiser(network, SCHEDULE, torch.ones(3))
    time = time_of_sigma(torch.tensor([0.1, 1.0, 4.0, 20.0]), SCHEDULE)
    given = {"condition": torch.zeros_like(condition), "season": season}
    expected = KarrasDenoiser(network, SCHEDULE)(x, time, **given).mean
    torch.testing.assert_close(centred(x, time, **given).mean, expected)


def test_the_loss_of_an_untrained_network_is_the_variance_of_departures() -> None:
    """`(s^2 + sigma^2) / sigma^2` times the error `s^2 sigma^2 / (s^2 + sigma^2)` is `s^2`."""
    draw = torch.Generator().manual_seed(5)
    condition, noise, departure = (
        torch.randn(64, 2, 3, 8, 8, generator=draw, dtype=torch.float64) for _ in range(3)
    )
    x = condition + SD.reshape(-1, 1, 1) * departure
    centred, _ = denoisers(0.0)
    for sigma in (0.05, 1.0, 20.0):
        drawn = NoiseDraw(torch.full((64,), sigma), noise, torch.ones(64, dtype=torch.bool))
        loss = denoising_loss(centred, x, drawn, condition, torch.zeros(64)).mean()
        torch.testing.assert_close(loss, SD.double().square().mean(), rtol=0.03, atol=0)
    # Hidden, the states are not centred: their error is that of unit variance about zero.
    drawn = NoiseDraw(torch.full((64,), 1.0), noise, torch.zeros(64, dtype=torch.bool))
    loss = denoising_loss(centred, x, drawn, condition, torch.zeros(64)).mean()
    torch.testing.assert_close(loss, (x - noise).square().mean() / 2, rtol=1e-4, atol=0)


def test_another_network_keeps_the_centre() -> None:
    x, condition, season = states()
    centred, plain = denoisers(0.3)
    time = time_of_sigma(torch.tensor(0.8), SCHEDULE)
    for denoiser in (centred, plain):
        again = with_backbone(denoiser, denoiser.backbone)
        found = again(x, time, condition=condition, season=season).mean
        expected = denoiser(x, time, condition=condition, season=season).mean
        torch.testing.assert_close(found, expected)
