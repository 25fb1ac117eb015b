"""The VAE's loss, what it hides, and its learned errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from slams.config.schema import OptimizerConfig, VAEConfig
from slams.errors import UserError
from slams.fields import Batch, FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.accumulators import ChannelError
from slams.modules.vae import VAE
from slams.nn.blocks import Crop
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


def cropped(crop: list[int], rows: int = 24, columns: int = 48) -> tuple[VAE, Tensor]:
    """Return an untrained (linear) VAE of a grid of its own, trained on crops, and fields."""
    grid = LatLonGrid(
        torch.linspace(88.0, -88.0, rows, dtype=torch.float64),
        torch.arange(columns, dtype=torch.float64) * 360 / columns,
    )
    config = VAEConfig(latent_channels=8, hidden=8, blocks=0, factor=2, crop=crop)
    module = VAE(config, CHANNELS, grid, torch.ones(4, rows, columns))
    draw = torch.Generator().manual_seed(2)
    data = torch.randn(3, 4, rows, columns, generator=draw)
    module.initialise(data)
    return module, data


@pytest.mark.parametrize("shape", [(24, 48), (25, 46)])
def test_the_loss_of_a_crop_is_that_of_the_whole_field_inside_its_margin(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    """A linear network sees no borders."""
    module, x = cropped([12, 20], *shape)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    whole = module.reconstruct(x, known)
    h, w = module.encoder.patches.block_shape
    for top, left in ((3, 4), (0, w - 4), (h - 6, 0)):
        crop = Crop((h, w), 2, top, left, (6, 10), module.margin)
        loss, kl, decoded = module.loss(x, known, known, crop)
        assert decoded.shape[-2:] == (12, 20)
        inside = torch.zeros(h, w)
        rows, columns = torch.nonzero(crop.interior(), as_tuple=True)
        inside[rows + top, (columns + left) % w] = 1.0
        inside = inside.repeat_interleave(2, 0).repeat_interleave(2, 1)
        inside = module.encoder.patches.trim(inside)
        assert 0 < inside.mean() < 0.3
        often = module.coverage.repeat_interleave(2, 0).repeat_interleave(2, 1)
        area = module.weights[:, None] * inside / module.encoder.patches.trim(often)
        weight = known * area
        error = (weight * (whole - x).square()).sum((0, 2, 3)) / weight.sum((0, 2, 3))
        likelihood = (0.5 * error * (-2 * module.log_error).exp() + module.log_error).mean()
        share = area.mean()
        expected = share * likelihood + module.config.kl_weight * kl
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
        assert abs(float(share) - 1) > 0.01


def test_crops_have_on_average_the_loss_of_whole_fields() -> None:
    torch.manual_seed(0)
    module, x = cropped([16, 48])
    whole, kl, _ = module.loss(x, everything(x), everything(x))
    with torch.no_grad():
        losses = [
            module.loss(x, everything(x), everything(x), module.draw_crop())[:2]
            for _ in range(400)
        ]
    mean, divergence = torch.tensor(losses).mean(dim=0).tolist()
    assert mean == pytest.approx(float(whole.detach()), rel=0.03)
    assert divergence == pytest.approx(float(kl.detach()), rel=0.03)


def test_training_is_on_crops_and_the_rest_on_whole_fields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, x = cropped([12, 20])
    seen, encode = [], module.encoder.forward

    def watched(fields: Tensor, mask: Tensor, crop: Crop | None = None):
        seen.append(tuple(fields.shape[2:]))
        return encode(fields, mask, crop)

    monkeypatch.setattr(module.encoder, "forward", watched)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    known, times = everything(x)[:, None], torch.zeros(3, 1)
    batch = Batch(x[:, None], known, times, torch.arange(3), torch.zeros_like(x[:, None]))
    for _ in range(20):
        module.training_step(batch, 0).backward()
    module.validation_step(batch, 0)
    assert set(seen[:20]) == {(12, 20)}
    assert set(seen[20:]) == {(24, 48)}
    # Every place has been trained by some crop.
    assert module.encoder.position.grad.shape == module.encoder.position.shape


def test_a_crop_without_a_known_value_is_not_nan() -> None:
    module, x = cropped([12, 20])
    known = everything(x)
    known[..., :12, :] = False
    crop = Crop((12, 24), 2, 0, 0, (6, 10), module.margin)
    loss = module.loss(x, known, known, crop)[0]
    assert torch.isfinite(loss)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


def test_the_crop_is_no_part_of_the_network() -> None:
    """A checkpoint from before the key, and one of another crop, describe the same network."""
    assert cropped([12, 20])[0].identity == cropped([])[0].identity
    assert "crop" not in vae().identity["settings"]


@pytest.mark.parametrize("crop", [[26, 20], [12, 50], [4, 20], [12, 4]])
def test_crops_that_do_not_fit_are_refused(crop: list[int]) -> None:
    expected = r"vae.crop: found \[\d+, \d+\], expected at most 24 x 48 .* at least 6 in each"
    with pytest.raises(UserError, match=expected):
        cropped(crop)
