"""The VAE's loss, what it hides, and its learned errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from slams.config.schema import OptimizerConfig, VAEConfig
from slams.fields import Batch, FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.accumulators import ChannelError
from slams.modules.vae import VAE
from tests.nn.test_layers import randomise

CHANNELS = tuple(
    FieldSpec.parse(name)
    for name in (
        "temperature@850",
        "temperature@500",
        "2m_temperature",
        "total_precipitation_24hr",
    )
)
GRID = LatLonGrid(
    torch.linspace(82.5, -82.5, 12, dtype=torch.float64),
    torch.arange(24, dtype=torch.float64) * 15,
)
SD = torch.rand(4, 12, 24, generator=torch.Generator().manual_seed(5)) + 0.5


def vae(**settings: object) -> VAE:
    config = VAEConfig(latent_channels=8, hidden=8, blocks=1, **settings)  # type: ignore[arg-type]
    return VAE(config, CHANNELS, GRID, SD)


def fields(count: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, 4, 12, 24, generator=torch.Generator().manual_seed(seed))


def everything(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool)


def test_hiding_takes_whole_variables_and_never_all_of_them() -> None:
    torch.manual_seed(0)
    module = vae(modality_dropout=0.7)
    known = torch.rand(500, 4, 12, 24) < 0.9
    seen = module.hide_modalities(known)
    assert not (seen & ~known).any()
    shown = seen.any(dim=3).any(dim=2)
    assert torch.equal(seen, known & shown[..., None, None])
    assert torch.equal(shown[:, 0], shown[:, 1])  # both levels of temperature, or none
    assert shown.any(dim=1).all()
    # 0.7^3 of the samples would have lost all; they are shown whole instead.
    rate = shown.float().mean(dim=0)
    torch.testing.assert_close(rate, torch.full((4,), 0.3 + 0.7**3), rtol=0, atol=0.07)
    assert not torch.equal(shown[:, 2], shown[:, 3])


def test_a_sample_with_one_known_variable_keeps_it() -> None:
    torch.manual_seed(0)
    known = torch.zeros(200, 4, 12, 24, dtype=torch.bool)
    known[:, 2] = True
    assert torch.equal(vae(modality_dropout=0.7).hide_modalities(known), known)


def test_without_dropout_nothing_is_hidden() -> None:
    known = torch.rand(20, 4, 12, 24) < 0.9
    assert torch.equal(vae(modality_dropout=0.0).hide_modalities(known), known)


@pytest.mark.parametrize("filler", [0.0, 50.0, torch.nan])
def test_loss_ignores_unknown_values(filler: float) -> None:
    module = vae()
    randomise(module)
    x = fields()
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    losses = []
    for junk in (1.0, filler):
        torch.manual_seed(3)
        losses.append(module.loss(torch.where(known, x, junk), known, known)[0])
    assert torch.isfinite(losses[0])
    assert torch.equal(losses[0], losses[1])
    losses[1].backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


def test_a_channel_that_is_never_known_teaches_nothing_about_its_error() -> None:
    module = vae()
    known = everything(fields())
    known[:, 1] = False
    module.loss(fields(), known, known)[0].backward()
    gradient = module.log_error.grad
    assert gradient[1] == 0
    assert (gradient[[0, 2, 3]] != 0).all()


def test_loss_in_closed_form() -> None:
    """With a decoder that gives 0 and latents of N(0, e^-4) about 0 every term is known."""
    module = vae(kl_weight=0.3)
    for part in (module.encoder.linear, module.decoder.linear):
        part.weight.data.zero_()
    module.log_error.data.copy_(torch.tensor([0.1, -0.5, 0.0, 1.0]))
    x = fields()
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    loss, kl, decoded = module.loss(x, known, known)
    assert not decoded.any()
    assert float(kl.detach()) == pytest.approx(0.5 * (math.exp(-4) - 1 + 4), rel=1e-5)
    weight = known.double() * GRID.weights[:, None]
    square = (weight * x.double().square()).sum(dim=(0, 2, 3)) / weight.sum(dim=(0, 2, 3))
    log_error = module.log_error.detach().double()
    expected = (0.5 * square / (2 * log_error).exp() + log_error).mean() + 0.3 * kl.double()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_divergence_counts_rows_with_their_area(monkeypatch: pytest.MonkeyPatch) -> None:
    module, data = vae(), fields(2)
    known = torch.ones_like(data, dtype=torch.bool)
    shape = module.encoder(data, known)[0].shape
    mean = torch.zeros(shape)
    mean[:, :, 0] = 2.0  # the northernmost latents alone
    monkeypatch.setattr(module.encoder, "forward", lambda *_: (mean, torch.zeros(shape)))
    _, kl, _ = module.loss(data, known, known)
    share = float(GRID.weights[: 12 // shape[2]].sum() / GRID.weights.sum())
    assert float(kl) == pytest.approx(0.5 * 4 * share, rel=1e-5)
    assert share < 0.9 / shape[2]


def test_the_learned_error_becomes_the_error_of_the_reconstruction() -> None:
    module = vae(kl_weight=0.0)
    for part in (module.encoder.linear, module.decoder.linear):
        part.weight.data.zero_()
    x = fields() * torch.tensor([0.2, 1.0, 3.0, 0.5])[:, None, None]
    optimizer = torch.optim.LBFGS([module.log_error], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = module.loss(x, everything(x), everything(x))[0]
        loss.backward()
        return loss

    optimizer.step(closure)
    rms = (x.double().square() * GRID.weights[:, None]).mean(dim=(0, 2, 3)).sqrt().float()
    torch.testing.assert_close(module.log_error.detach().exp(), rms, rtol=1e-3, atol=0)


def test_a_few_steps_reduce_the_loss() -> None:
    torch.manual_seed(0)
    module = vae(optimizer=OptimizerConfig(learning_rate=5e-3, warmup_steps=0, steps=1000))
    x = torch.nn.functional.interpolate(fields(16)[..., ::3, ::3], scale_factor=3)
    module.initialise(x)
    optimizer = module.configure_optimizers()["optimizer"]
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = module.loss(x, everything(x), module.hide_modalities(everything(x)))[0]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.5


def test_the_reported_error_covers_what_is_known_in_units() -> None:
    module = randomise(vae())
    x = fields()
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    known[:, 3] = False
    error = (module.reconstruct(x, known) - x) * SD
    weight = known.double() * GRID.weights[:, None]
    expected = (weight * error.double().square()).sum((0, 2, 3)) / weight.sum((0, 2, 3))
    batch = Batch(
        x[:, None],
        known[:, None],
        torch.zeros(6, 1),
        torch.arange(6),
        torch.zeros_like(x[:, None]),
    )
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    for part in (slice(0, 4), slice(4, 6)):  # the split over batches is of no account
        module.validation_step(batch.select(part), 0)
    found = module.channel_error.compute()
    torch.testing.assert_close(found[:3], expected[:3].sqrt().detach())
    assert torch.isnan(found[3])


def test_channel_error_of_a_constant() -> None:
    metric = ChannelError(2)
    known = torch.ones(3, 2, 12, 24, dtype=torch.bool)
    known[0] = False
    error = torch.full((3, 2, 12, 24), 2.0)
    error[0] = torch.nan
    metric.update(error, known, GRID.weights)
    torch.testing.assert_close(metric.compute(), torch.full((2,), 2.0, dtype=torch.float64))
