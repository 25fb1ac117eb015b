"""The Wiener filter and the network beside it, against closed forms; one operator at a time."""

from __future__ import annotations

import math

import pytest
import torch

from slams.config.schema import OptimizerConfig
from slams.diffusion.training import make_denoiser
from slams.warmups.kolmogorov_operators import FlowOperator, interpolate
from slams.warmups.kolmogorov_score import FlowBackbone, WienerFilter, window_covariance
from slams.warmups.recipes import FlowScoreConfig
from slams.warmups.training import fit_denoiser

N, T = 8, 3


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def smooth(count: int, size: int = N, length: int = T) -> torch.Tensor:
    """Draw Gaussian anomalies that are smooth in space and persist in time."""
    k = torch.hypot(torch.fft.fftfreq(size, 1 / size)[:, None], torch.fft.rfftfreq(size, 1 / size))
    noise = draw(count, length, 2, size, size)
    for i in range(1, length):
        noise[:, i] = 0.8 * noise[:, i - 1] + 0.6 * noise[:, i]
    return torch.fft.irfft2(torch.fft.rfft2(noise) / (1 + k) ** 2, s=(size, size))


def untrained(covariance: torch.Tensor, channels: list[int]) -> FlowBackbone:
    profile = torch.sin(torch.arange(len(covariance)) * 4 * math.pi / len(covariance))
    mean = torch.stack([profile, 0 * profile])[..., None]
    return FlowBackbone(covariance, 2, channels, 1, 8, mean, 0.7).eval()


def test_white_noise_has_the_covariance_one() -> None:
    found = window_covariance(draw(400, T, 2, N, N), T)
    assert found.shape == (N, N // 2 + 1, 2 * T, 2 * T)
    torch.testing.assert_close(found.mean(dim=(0, 1)), torch.eye(2 * T), rtol=0, atol=0.02)


def test_a_filter_of_one_mode_is_the_known_ratio() -> None:
    covariance = torch.zeros(N, N // 2 + 1, 2, 2)
    covariance[2, 1] = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    wiener = WienerFilter(covariance)
    y, x = torch.meshgrid(*[torch.arange(N) * 2 * math.pi / N] * 2, indexing="ij")
    wave, other = torch.cos(x + 2 * y), torch.cos(2 * x + y)
    x_t = torch.stack([wave + other, wave])[None, None]
    expected = torch.stack([3 / 3.25 * wave, torch.zeros_like(wave)])[None, None]
    sigma = torch.tensor([0.5])
    torch.testing.assert_close(wiener(x_t, sigma), expected, rtol=0, atol=1e-6)
    # One of two components of two of the N^2 wave numbers.
    error = math.sqrt(3 * 0.25 / 3.25 / N**2)
    torch.testing.assert_close(wiener.error(sigma), torch.tensor([error]))
    # Vorticity is k times as large, and has one component in place of two.
    expected = torch.tensor([error * math.sqrt(2 * 5)])
    torch.testing.assert_close(wiener.vorticity_error(sigma), expected)


def test_the_loss_is_in_units_of_the_error_that_the_filter_leaves() -> None:
    x = smooth(64, 16)
    backbone = untrained(window_covariance(x, T), [8])
    said: list[str] = []
    fit_denoiser(
        make_denoiser(backbone),
        lambda draw: x,
        FlowScoreConfig(
            optimizer=OptimizerConfig(learning_rate=1e-9, steps=1, warmup_steps=0),
            noise_mean=-0.5,
            noise_sd=1.2,
        ),
        0,
        said.append,
        backbone.filter.error,
    )
    # Of an untrained network it is one, at every noise level.
    assert float(said[-1].split()[3]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_the_filter_errs_as_it_says_and_less_than_any_other_gain(sigma: float) -> None:
    x = smooth(600)
    wiener = WienerFilter(window_covariance(x, T))
    noise = sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    level = torch.full((len(x),), sigma)

    def error(assumed: float) -> float:
        return float((wiener(x + noise, assumed * level) - x).square().mean().sqrt())

    assert error(1.0) == pytest.approx(float(wiener.error(level)[0]), rel=0.03)
    assert error(1.0) < min(error(0.5), error(2.0))


def test_an_untrained_network_leaves_the_filter_and_each_role_does_what_it_says() -> None:
    covariance = window_covariance(smooth(50, 16), T)
    backbone = untrained(covariance, [8, 8])
    denoiser = make_denoiser(backbone)
    x_t, t = draw(2, T, 2, 16, 16), torch.tensor(0.4)
    sigma = denoiser.schedule(t)[1].expand(2)
    linear = backbone.filter(x_t, sigma)
    torch.testing.assert_close(denoiser(x_t, t).mean, linear, rtol=0, atol=1e-4)
    torch.nn.init.normal_(backbone.exit.weight)
    means, slopes = {}, {}
    for role in ("trained", "mean", "none"):
        backbone.role = role
        x = x_t.clone().requires_grad_()
        means[role] = denoiser(x, t).mean
        (slopes[role],) = torch.autograd.grad(means[role][0, 0, 0, 0, 0], x)
    torch.testing.assert_close(means["mean"], means["trained"])
    torch.testing.assert_close(means["none"], linear, rtol=0, atol=1e-4)
    assert not torch.allclose(means["mean"], linear, atol=1e-2)
    torch.testing.assert_close(slopes["mean"], slopes["none"], rtol=0, atol=1e-5)
    assert not torch.allclose(slopes["trained"], slopes["none"], atol=1e-3)
    # No sample sees another.
    assert slopes["trained"][1].abs().max() == 0


def test_the_network_is_periodic_and_knows_the_phase_of_the_forcing() -> None:
    backbone = untrained(window_covariance(smooth(50, 16), T), [8, 8])
    torch.nn.init.normal_(backbone.exit.weight)
    x, level = draw(1, T, 2, 16, 16), torch.tensor([0.0])
    found = backbone(x, level)
    # Shifts by whole cells of the coarsest resolution; 8 points are a wave of the forcing.
    torch.testing.assert_close(
        backbone(x.roll((8, 4), (-2, -1)), level), found.roll((8, 4), (-2, -1))
    )
    moved = backbone(x.roll(4, -2), level)
    assert not torch.allclose(moved, found.roll(4, -2), atol=1e-3)


def test_a_grid_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 16, found 8"):
        untrained(torch.eye(6).expand(8, 5, 6, 6), [8, 8, 8, 8])


def test_what_the_linear_operators_see() -> None:
    velocity = draw(1, 5, 2, 8, 8)
    coarse = FlowOperator("coarse", 4, 4)
    torch.testing.assert_close(
        coarse.seen(velocity)[0, 1, 1, 0, 1], velocity[0, 4, 1, :4, 4:].mean()
    )
    assert coarse(velocity).shape == (1, 2 * 2 * 2 * 2)
    sparse = FlowOperator("sparse", 2, 4)
    assert sparse.seen(velocity)[0, 2, 0, 1, 1] == velocity[0, 4, 0, 4, 4]
    assert sparse.seen(velocity).shape == (1, 3, 2, 2, 2)


def test_what_saturates() -> None:
    # Solid rotation (u, v) = a (-y, x): vorticity 2 a, in units of a cell of two points 4 a.
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    operator = FlowOperator("saturation", 1, 2, margin=1)
    for a in (0.1, -2.0):
        seen = operator.seen(a * torch.stack([-y, x])[None, None])
        assert seen.shape == (1, 1, 1, 6, 6)
        expected = torch.full_like(seen, 4 * a / (1 + abs(4 * a)))
        torch.testing.assert_close(seen, expected)


@pytest.mark.parametrize(("kind", "few"), [("sparse", 4), ("coarse", 4)])
def test_interpolation_gives_back_long_waves_and_the_time_between(kind: str, few: int) -> None:
    axis = torch.arange(16) * 2 * math.pi / 16
    wave = torch.sin(axis)[:, None] + torch.cos(axis - 0.3)[None] + 0.5
    velocity = torch.stack([wave, -wave]) * torch.arange(1.0, 6.0)[:, None, None, None]
    operator = FlowOperator(kind, 2, 4)
    found = interpolate(operator, operator.seen(velocity), 5, 16)
    # A mean over 4 of 16 points damps the wave, and nothing else.
    damping = math.sin(math.pi / 4) / math.sin(math.pi / 16) / 4 if kind == "coarse" else 1.0
    mean = torch.tensor([0.5, -0.5])[:, None, None] * torch.arange(1.0, 6.0)[:, None, None, None]
    torch.testing.assert_close(found, mean + damping * (velocity - mean), rtol=0, atol=1e-5)
    held = interpolate(FlowOperator(kind, 3, 4), FlowOperator(kind, 3, 4).seen(velocity), 5, 16)
    torch.testing.assert_close(held[4], held[3])
