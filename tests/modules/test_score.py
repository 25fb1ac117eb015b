"""The denoising loss in closed form, and what the score model may and may not see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slams.config.schema import OptimizerConfig, ScoreConfig
from slams.diffusion.backend import time_of_sigma
from slams.diffusion.training import NoiseDraw, denoising_loss, draw_noise
from slams.modules.score import LatentScore
from slams.nn.latent_space import LatentBatch
from tests.modules.test_vae import CHANNELS, GRID
from tests.nn.test_layers import randomise


def score(window: int = 2, **settings: object) -> LatentScore:
    config = ScoreConfig(channels=[8], blocks=1, embedding=16, **settings)  # type: ignore[arg-type]
    shape = (window, 4, 3, 6)
    return LatentScore(config, CHANNELS, GRID, shape, torch.zeros(4), torch.ones(4), "vae-run")


def batch(size: int = 6, window: int = 2, seed: int = 0) -> LatentBatch:
    draw = torch.Generator().manual_seed(seed)
    latents, background = (torch.randn(size, window, 4, 3, 6, generator=draw) for _ in range(2))
    return LatentBatch(latents, background, torch.rand(size, generator=draw))


def drawn(data: LatentBatch, sigma: torch.Tensor, known: bool = True) -> NoiseDraw:
    noise = torch.randn(data.latents.shape, generator=torch.Generator().manual_seed(9))
    return NoiseDraw(sigma, noise, torch.full((len(data),), known))


def test_the_untrained_denoiser_is_its_skip() -> None:
    """A network that gives 0 leaves D(x_t) = x_t / (1 + sigma^2), and so |n - sigma x|^2."""
    data, module = batch(), score()
    sigma = torch.tensor([0.01, 0.1, 0.5, 1.0, 10.0, 100.0])
    draw = drawn(data, sigma)
    wide = sigma.reshape(-1, 1, 1, 1, 1)
    x_t = data.latents + wide * draw.noise
    time = time_of_sigma(sigma, module.denoiser.schedule)
    mean = module.denoiser(x_t, time, condition=data.background, season=data.season).mean
    torch.testing.assert_close(mean, x_t / (1 + wide**2), rtol=1e-4, atol=1e-5)

    loss = denoising_loss(module.denoiser, data.latents, draw, data.background, data.season)
    expected = (draw.noise - wide * data.latents).square() / (1 + wide**2)
    torch.testing.assert_close(loss, expected.flatten(1).mean(dim=1), rtol=2e-3, atol=0)


def test_importance_weighs_channels() -> None:
    data, importance = batch(), torch.tensor([2.0, 1.0, 0.7, 0.3])
    config = ScoreConfig(channels=[8], blocks=1, embedding=16)
    shape, moments = (2, 4, 3, 6), (torch.zeros(4), torch.ones(4))
    module = LatentScore(config, CHANNELS, GRID, shape, *moments, "vae-run", importance)
    draw = drawn(data, torch.full((6,), 0.5))
    found = denoising_loss(module.denoiser, data.latents, draw, importance=module.importance)
    expected = (draw.noise - 0.5 * data.latents).square() / 1.25
    expected = (expected * importance.reshape(-1, 1, 1)).flatten(1).mean(dim=1)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)
    torch.manual_seed(0)
    weighted = module.loss(data)
    module.importance.fill_(1.0)
    torch.manual_seed(0)
    assert not torch.allclose(weighted, module.loss(data))
    assert "importance" not in module.state_dict()


def test_rows_count_with_their_area() -> None:
    """The outer two of three rows are poleward of 30 degrees: a quarter of the globe each."""
    data, module = batch(), score()
    draw = drawn(data, torch.full((6,), 0.5))
    found = denoising_loss(module.denoiser, data.latents, draw, area=module.area)
    expected = (draw.noise - 0.5 * data.latents).square() / 1.25
    sine = torch.sin(torch.deg2rad(torch.tensor([90.0, 30.0, -30.0, -90.0])))
    area = (sine[:-1] - sine[1:]) / (sine[:-1] - sine[1:]).mean()
    expected = (expected * area.reshape(-1, 1)).flatten(1).mean(dim=1)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)
    torch.manual_seed(0)
    weighted = module.loss(data)
    torch.manual_seed(0)
    module.area.fill_(1.0)
    assert not torch.allclose(weighted, module.loss(data), rtol=1e-3)
    # Older checkpoints have none, and newer ones do not keep it: the grid says it.
    assert "area" not in module.state_dict()
    assert module.loss_weights == "area"


def test_the_weight_makes_every_noise_level_cost_the_same_at_the_start() -> None:
    """For x ~ N(0, 1) the expectation of the untrained loss is 1 at each sigma."""
    data, module = batch(1200), score()
    for level in (0.05, 1.0, 20.0):
        draw = drawn(data, torch.full((1200,), level))
        loss = denoising_loss(module.denoiser, data.latents, draw, None, data.season)
        # 1200 windows of 144 values: the standard error is sqrt(2 / 172800) = 0.0034.
        assert float(loss.mean().detach()) == pytest.approx(1.0, abs=0.014)


def test_noise_levels_are_log_normal_and_conditions_are_hidden_as_often_as_asked() -> None:
    draw = draw_noise(
        torch.zeros(20000, 1, 1, 1, 1), 0.3, 1.5, 0.4, torch.Generator().manual_seed(0)
    )
    log_sigma = draw.sigma.log()
    assert float(log_sigma.mean()) == pytest.approx(0.3, abs=0.04)
    assert float(log_sigma.std()) == pytest.approx(1.5, abs=0.03)
    assert float(draw.known.float().mean()) == pytest.approx(0.6, abs=0.015)
    assert float(draw.noise.std()) == pytest.approx(1.0, abs=0.02)


def test_a_hidden_background_has_no_influence_on_the_loss() -> None:
    module, data = score(condition_dropout=1.0), batch()
    randomise(module)
    other = replace(data, background=7 * batch(seed=1).background)
    losses = []
    for one in (data, other):
        torch.manual_seed(4)
        losses.append(module.loss(one))
    assert torch.equal(*losses)
    shown = score(condition_dropout=0.0)
    randomise(shown)
    losses = []
    for one in (data, other):
        torch.manual_seed(4)
        losses.append(shown.loss(one))
    assert not torch.allclose(*losses)


def test_the_denoiser_knows_season_and_background() -> None:
    module, data = score(), batch()
    randomise(module)
    time = time_of_sigma(torch.tensor(0.7), module.denoiser.schedule)

    def denoise(**condition: torch.Tensor) -> torch.Tensor:
        return module.denoiser(data.latents, time, **condition).mean

    one = denoise(condition=data.background, season=data.season)
    torch.testing.assert_close(
        one, denoise(condition=data.background, season=data.season + 1), rtol=1e-4, atol=1e-4
    )
    assert not torch.allclose(
        one, denoise(condition=data.background, season=data.season + 0.5), atol=1e-3
    )
    assert not torch.allclose(one, denoise(season=data.season), atol=1e-3)


@pytest.mark.parametrize("window", [1, 2])
def test_a_few_steps_reduce_the_loss(window: int) -> None:
    """The background is a good guess of the latents: the network learns to use it."""
    torch.manual_seed(0)
    module = score(
        window,
        condition_dropout=0.0,
        dropout=0.0,
        optimizer=OptimizerConfig(learning_rate=5e-3, warmup_steps=0, steps=1000),
    )
    data = batch(32, window)
    data = replace(data, background=data.latents + 0.1 * data.background)
    optimizer = module.configure_optimizers()["optimizer"]
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = module.loss(data).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_days_of_a_window_inform_one_another() -> None:
    module, data = score(), batch()
    randomise(module)
    time = time_of_sigma(torch.tensor(0.7), module.denoiser.schedule)
    changed = data.latents.clone()
    changed[:, 1] += torch.randn(changed[:, 1].shape, generator=torch.Generator().manual_seed(2))
    one, other = (
        module.denoiser(z, time, season=data.season).mean for z in (data.latents, changed)
    )
    assert not torch.allclose(one[:, 0], other[:, 0], atol=1e-3)


def test_a_centred_score_model_is_loaded_with_its_departures(tmp_path: Path) -> None:
    config = ScoreConfig(channels=[8], blocks=1, embedding=16, centre="background")
    moments, departures = (torch.zeros(4), torch.ones(4)), torch.tensor([0.5, 0.6, 0.7, 0.8])
    module = LatentScore(
        config, CHANNELS, GRID, (2, 4, 3, 6), *moments, "vae-run", departure_sd=departures
    )
    randomise(module)
    checkpoint = {"state_dict": module.state_dict(), "slams": module.identity}
    torch.save(checkpoint, tmp_path / "best.ckpt")
    again = LatentScore.load(tmp_path / "best.ckpt", CHANNELS, GRID)
    torch.testing.assert_close(again.denoiser.sd, departures)
    data, time = batch(), torch.tensor(0.5)
    given = {"condition": data.background, "season": data.season}
    found, expected = (
        m.eval().denoiser(data.latents, time, **given).mean for m in (again, module)
    )
    torch.testing.assert_close(found, expected)
