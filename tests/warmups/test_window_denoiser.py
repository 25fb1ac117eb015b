"""The denoiser of windows: exact for Gaussians without its network, better than that with it."""

from __future__ import annotations

import pytest
import torch

from slams.config.schema import OptimizerConfig
from slams.diffusion.backend import time_of_sigma
from slams.diffusion.trajectory import TrajectoryDenoiser
from slams.runtime.seeds import generator
from slams.warmups.recipes import WindowScoreConfig
from slams.warmups.window_denoiser import WindowDenoiser, train_windows


def _chain(count: int, length: int, a: float = 0.95) -> torch.Tensor:
    """Draw stationary trajectories of an autoregressive chain of two numbers a state."""
    noise = torch.randn(count, length, 2, generator=generator(0, "test"))
    x = [noise[:, 0]]
    for n in noise[:, 1:].unbind(dim=1):
        x.append(a * x[-1] + (1 - a**2) ** 0.5 * n)
    return torch.stack(x, dim=1)


def _network(width: int, blocks: int, local: int = 0) -> WindowScoreConfig:
    return WindowScoreConfig(width=width, blocks=blocks, local_width=local, local_blocks=2)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 20.0])
def test_untrained_it_is_the_exact_denoiser_of_the_gaussian(sigma: float) -> None:
    windows = _chain(4000, 5)
    denoiser = WindowDenoiser(windows, _network(16, 1))
    flat = windows.double().flatten(1)
    covariance, mean = torch.cov(flat.T), flat.mean(dim=0)
    x_t = windows[:7] + sigma * torch.randn(7, 5, 2, generator=generator(1, "test"))
    total = covariance + sigma**2 * torch.eye(10)
    exact = mean + (x_t.double().flatten(1) - mean) @ torch.linalg.solve(total, covariance)
    found = denoiser(x_t, time_of_sigma(torch.tensor(sigma), denoiser.schedule)).mean
    assert torch.allclose(found.double().flatten(1), exact, atol=2e-4)
    noise = torch.randn(windows.shape, generator=generator(2, "test"))
    loss = denoiser.loss(windows, torch.full((4000,), sigma), noise)
    assert float(loss.mean()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("local", [0, 8])
def test_the_loss_is_the_weighted_error_of_the_denoiser(local: int) -> None:
    windows = _chain(500, 5)
    denoiser = WindowDenoiser(windows, _network(16, 2, local))
    torch.nn.init.normal_(denoiser.network.write.weight)
    noise = torch.randn(500, 5, 2, generator=generator(3, "test"))
    sigma = torch.logspace(-2, 1, 500)
    t = time_of_sigma(sigma, denoiser.schedule)
    # The loss draws its noise along the principal directions.
    turned = (noise.flatten(1) @ denoiser.vectors.T).reshape(noise.shape)
    values = denoiser.values
    weight = (values + sigma[:, None] ** 2) / (values * sigma[:, None] ** 2)

    def error() -> torch.Tensor:
        error = denoiser(windows + sigma[:, None, None] * turned, t).mean - windows
        return (weight * (error.flatten(1) @ denoiser.vectors).square()).mean(dim=1)

    expected = error()
    if local:
        # So far the local part adds nothing; a fifth of the loss stays with what it starts from.
        torch.nn.init.normal_(denoiser.network.local_write.weight)
        assert (error() - expected).abs().max() > 0.1
        expected = 0.8 * error() + 0.2 * expected
    assert torch.allclose(denoiser.loss(windows, sigma, noise), expected, rtol=1e-2, atol=1e-3)


def test_the_local_part_sees_what_the_global_part_leaves() -> None:
    windows = _chain(500, 5)
    network = WindowDenoiser(windows, _network(16, 2, 8)).network
    torch.nn.init.normal_(network.write.weight)
    seen = []
    network.local_read.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x_t, sigma = windows[:7] + 0.5, torch.tensor([[0.3]])
    w = (x_t.flatten(1) - network.mean) @ network.vectors
    whole, _ = network(w, sigma)
    estimate, noise, _, _ = seen[0].transpose(1, 2).unflatten(2, (2, 4)).unbind(dim=3)
    # The estimate is what the denoiser would give without the local part ...
    total = network.values + sigma**2
    mean = network.values / total * w + sigma * (network.values / total).sqrt() * whole
    expected = (network.mean + mean @ network.vectors.T).reshape(x_t.shape)
    assert torch.allclose(estimate, expected, atol=1e-4)
    # ... and with the noise that it leaves it makes up the input.
    assert torch.allclose(estimate + sigma * noise, x_t, atol=1e-4)


@pytest.mark.parametrize("local", [0, 16])
def test_training_learns_what_is_not_gaussian(local: int) -> None:
    # Two trajectories alone, up or down: the Gaussian of that covariance knows nothing of it.
    spread, sigma = 0.1, 2.0
    x = _up_or_down(spread)
    lines: list[str] = []
    denoiser = train_windows(x, _training(500, local), generator(6, "test"), lines.append)
    assert len(lines) == 10
    t = time_of_sigma(torch.tensor(sigma), denoiser.schedule)
    windows = x.unfold(1, 3, 1).transpose(2, 3).flatten(0, 1)
    x_t = windows + sigma * torch.randn(windows.shape, generator=generator(7, "test"))
    # All six numbers of a window share the sign, whose odds come from their sum.
    total = spread**2 + sigma**2
    sign = torch.tanh(x_t.sum(dim=(1, 2)) / total)[:, None, None]
    exact = (spread**2 * x_t + sigma**2 * sign) / total

    def error(found: WindowDenoiser) -> float:
        return float((found(x_t, t).mean - exact).square().mean().sqrt())

    gaussian = error(WindowDenoiser(windows, _network(32, 1)))
    assert gaussian > 0.25
    assert error(denoiser) < 0.2 * gaussian
    # Six times 0.5: the sign is up with odds exp(2 * 3 / 4) to one.
    half = denoiser(torch.full((1, 3, 2), 0.5), t).mean
    assert float(half.mean()) == pytest.approx(0.64, abs=0.1)


def test_training_repeats_itself_and_freezes_what_it_gives() -> None:
    x, x_t = _up_or_down(0.1), torch.full((1, 3, 2), 0.5)
    once, again = (train_windows(x, _training(20), generator(6, "test")) for _ in range(2))
    other = train_windows(x, _training(20), generator(7, "test"))
    t = time_of_sigma(torch.tensor(2.0), once.schedule)
    assert torch.equal(once(x_t, t).mean, again(x_t, t).mean)
    assert not torch.equal(once(x_t, t).mean, other(x_t, t).mean)
    assert not any(p.requires_grad for p in once.parameters())


def _up_or_down(spread: float) -> torch.Tensor:
    sign = torch.tensor([-1.0, 1.0]).repeat(32)[:, None, None]
    return sign + spread * torch.randn(64, 12, 2, generator=generator(5, "test"))


def _training(steps: int, local: int = 0) -> WindowScoreConfig:
    return WindowScoreConfig(
        blanket=1,
        width=32,
        blocks=1,
        local_width=local,
        local_blocks=1,
        batch_size=256,
        noise_mean=0.7,
        noise_sd=0.3,
        optimizer=OptimizerConfig(learning_rate=5e-3, steps=steps, warmup_steps=5, ema=0.98),
    )


def test_composed_windows_of_a_chain_give_the_score_of_the_trajectory() -> None:
    a, length, sigma = 0.95, 15, 0.01
    windows = _chain(60000, 7, a)
    composed = TrajectoryDenoiser(WindowDenoiser(windows, _network(8, 0)), 7)
    time = torch.arange(length, dtype=torch.float64)
    covariance = a ** (time[:, None] - time).abs()
    x_t = _chain(5, length, a)
    total = covariance + sigma**2 * torch.eye(length)
    exact = torch.linalg.solve(total, covariance).T @ x_t.double()
    t = time_of_sigma(torch.tensor(sigma), composed.schedule)
    found = composed(x_t, t).mean.double()
    # What denoising changes, to the sampling error of the covariance.
    assert (found - exact).norm() < 0.03 * (exact - x_t).norm()
