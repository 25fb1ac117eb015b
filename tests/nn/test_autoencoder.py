"""The patch autoencoder: optimal among linear codes at its start, blind behind masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from slams.errors import UserError
from slams.grid import LatLonGrid
from slams.nn.autoencoder import PatchDecoder, PatchEncoder, patch_principal_components
from slams.nn.latent_space import LatentSpace
from tests.nn.test_layers import randomise

ROWS, COLUMNS, CHANNELS, FACTOR, LATENTS = 12, 24, 3, 4, 8


def grid() -> LatLonGrid:
    return LatLonGrid(
        torch.linspace(82.5, -82.5, ROWS, dtype=torch.float64),
        torch.arange(COLUMNS, dtype=torch.float64) * 15,
    )


def fields(count: int = 60, seed: int = 0) -> Tensor:
    """Draw correlated fields whose variance grows towards the poles, so that areas matter."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, CHANNELS, ROWS // 2, COLUMNS // 2, generator=draw)
    smooth = functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    mixed = torch.einsum("cd,ndhw->nchw", torch.randn(CHANNELS, CHANNELS, generator=draw), smooth)
    height = torch.linspace(-1, 1, ROWS).abs()[:, None]
    steep = torch.where(torch.arange(COLUMNS) % FACTOR < 2, 1.0 + 2 * height, 1.0)
    return mixed * steep + 0.1 * torch.randn(mixed.shape, generator=draw)


def code(
    factor: int = FACTOR, latents: int = LATENTS, data: Tensor | None = None
) -> tuple[PatchEncoder, PatchDecoder]:
    """Make encoder and decoder as training starts with them."""
    data = fields() if data is None else data
    sizes = (CHANNELS, latents, (ROWS, COLUMNS), factor, 8, 1)
    encoder, decoder = PatchEncoder(*sizes), PatchDecoder(*sizes)
    components, sd = patch_principal_components(data, factor, latents, grid().weights)
    encoder.linear.weight.data.copy_((components / sd[:, None])[..., None, None])
    decoder.linear.weight.data.copy_((components * sd[:, None]).T[..., None, None])
    return encoder.eval(), decoder.eval()


def patch_area(factor: int = FACTOR) -> np.ndarray:
    """Return `(h,)` the mean area weight of each row of patches."""
    return grid().weights.numpy().reshape(-1, factor).mean(axis=1)


def independent_pca(data: Tensor, factor: int = FACTOR) -> tuple[np.ndarray, np.ndarray]:
    """Cut patches by hand; return singular values squared a sample, and right vectors."""
    x = data.double().numpy()
    n, c = x.shape[:2]
    patches = x.reshape(n, c, ROWS // factor, factor, COLUMNS // factor, factor)
    patches = patches.transpose(0, 2, 4, 1, 3, 5).reshape(-1, c * factor**2)
    area = np.broadcast_to(
        patch_area(factor)[None, :, None], (n, ROWS // factor, COLUMNS // factor)
    ).reshape(-1, 1)
    _, singular, vectors = np.linalg.svd(patches * np.sqrt(area), full_matrices=False)
    return singular**2 / len(patches), vectors


@pytest.mark.parametrize("factor", [2, 4])
def test_components_are_those_of_an_independent_analysis(factor: int) -> None:
    data = fields()
    components, sd = patch_principal_components(data, factor, LATENTS, grid().weights)
    variance, vectors = independent_pca(data, factor)
    np.testing.assert_allclose(sd.numpy() ** 2, variance[:LATENTS], rtol=1e-4)
    np.testing.assert_allclose(components @ components.T, np.eye(LATENTS), atol=1e-5)
    signless = np.abs(components.double().numpy() @ vectors[:LATENTS].T)
    np.testing.assert_allclose(signless, np.eye(LATENTS), atol=2e-3)


@pytest.mark.parametrize("factor", [2, 4])
def test_training_starts_at_the_best_linear_code(factor: int) -> None:
    """Its area-weighted error is the variance of the components that were left out."""
    data = fields()
    encoder, decoder = code(factor)
    known = torch.ones_like(data, dtype=torch.bool)
    with torch.no_grad():
        latents, log_variance = encoder(data, known)
        error = (decoder(latents) - data).double().square()
    rows = np.repeat(patch_area(factor), factor)
    weighted = (error.numpy() * rows[:, None]).mean()
    variance, _ = independent_pca(data, factor)
    assert weighted == pytest.approx(variance[LATENTS:].sum() / (CHANNELS * factor**2), rel=1e-3)
    assert float(log_variance.unique()) == -4.0

    area = torch.from_numpy(patch_area(factor))[:, None]
    second = (latents.double().square() * area).mean(dim=(0, 2, 3))
    torch.testing.assert_close(second, torch.ones_like(second), rtol=1e-3, atol=0)


def test_all_components_reproduce_everything() -> None:
    encoder, decoder = code(2, CHANNELS * 4)
    data = fields(5, seed=3)
    with torch.no_grad():
        latents, _ = encoder(data, torch.ones_like(data, dtype=torch.bool))
        torch.testing.assert_close(decoder(latents), data, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "poles"), [((121, 240), True), ((7, 10), False)])
def test_all_components_reproduce_grids_that_patches_do_not_divide(
    shape: tuple[int, int], poles: bool
) -> None:
    draw = torch.Generator().manual_seed(4)
    data = torch.randn(40 if shape[0] < 100 else 1, 1, *shape, generator=draw)
    sizes = (1, 16, shape, 4, 8, 1)
    encoder, decoder = PatchEncoder(*sizes, pole_rows=poles), PatchDecoder(*sizes)
    weights = torch.rand(shape[0], generator=draw) + 0.1
    components, sd = patch_principal_components(data, 4, 16, weights, poles)
    encoder.linear.weight.data.copy_((components / sd[:, None])[..., None, None])
    decoder.linear.weight.data.copy_((components * sd[:, None]).T[..., None, None])
    with torch.no_grad():
        latents, log_variance = encoder(data, torch.ones_like(data, dtype=torch.bool))
        assert latents.shape[-2:] == (-(-shape[0] // 4), -(-shape[1] // 4))
        assert latents.shape == log_variance.shape
        torch.testing.assert_close(decoder(latents), data, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shift", [1, 3])
def test_added_rows_leave_the_turns_by_whole_patches(shift: int) -> None:
    sizes = (CHANNELS, LATENTS, (13, COLUMNS), FACTOR, 8, 1)
    encoder, decoder = (randomise(m(*sizes)) for m in (PatchEncoder, PatchDecoder))
    encoder.position.data.zero_()
    decoder.position.data.zero_()
    data = torch.randn(2, CHANNELS, 13, COLUMNS, generator=torch.Generator().manual_seed(1))
    known = torch.rand(data.shape, generator=torch.Generator().manual_seed(2)) < 0.8
    latents = encoder(data, known)[0]
    turned = encoder(data.roll(shift * FACTOR, -1), known.roll(shift * FACTOR, -1))[0]
    torch.testing.assert_close(turned, latents.roll(shift, -1), rtol=1e-4, atol=1e-4)
    fields = decoder(latents)
    assert fields.shape == data.shape
    torch.testing.assert_close(
        decoder(turned), fields.roll(shift * FACTOR, -1), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("shape", [(13, 24), (12, 22)])
def test_masked_values_have_no_influence_through_what_is_added(shape: tuple[int, int]) -> None:
    encoder = randomise(PatchEncoder(CHANNELS, LATENTS, shape, FACTOR, 8, 1))
    data = torch.randn(2, CHANNELS, *shape, generator=torch.Generator().manual_seed(1))
    known = torch.rand(data.shape, generator=torch.Generator().manual_seed(2)) < 0.6
    found = encoder(torch.where(known, data, torch.nan), known)[0]
    assert torch.equal(found, encoder(torch.where(known, data, 0.0), known)[0])


@pytest.mark.parametrize("shift", [1, 3])
def test_commutes_with_turns_by_whole_patches_without_position(shift: int) -> None:
    encoder, decoder = (randomise(m) for m in code())
    encoder.position.data.zero_()
    decoder.position.data.zero_()
    data = fields(3)
    known = torch.rand(data.shape, generator=torch.Generator().manual_seed(2)) < 0.8
    latents = encoder(data, known)[0]
    turned = encoder(data.roll(shift * FACTOR, -1), known.roll(shift * FACTOR, -1))[0]
    torch.testing.assert_close(turned, latents.roll(shift, -1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        decoder(latents.roll(shift, -1)),
        decoder(latents).roll(shift * FACTOR, -1),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("filler", [torch.nan, torch.inf, 1e6, -3.0])
def test_values_behind_the_mask_have_no_influence(filler: float) -> None:
    encoder = randomise(code()[0])
    data = fields(3)
    known = torch.rand(data.shape, generator=torch.Generator().manual_seed(2)) < 0.6
    known[1] = False
    expected = encoder(torch.where(known, data, 0.0), known)
    found = encoder(torch.where(known, data, filler), known)
    for one, other in zip(found, expected, strict=True):
        assert torch.isfinite(one).all()
        assert torch.equal(one, other)


def test_missing_is_not_a_zero_anomaly() -> None:
    encoder = randomise(code()[0])
    data = fields(1)
    data[:, 1] = 0.0
    known = torch.ones_like(data, dtype=torch.bool)
    without = known.clone()
    without[:, 1] = False
    assert not torch.allclose(encoder(data, known)[0], encoder(data, without)[0], atol=1e-3)
    # Half of a patch missing is told from none and from all of it.
    half = known.clone()
    half[:, 1, ::2] = False
    for other in (known, without):
        assert not torch.allclose(encoder(data, half)[0], encoder(data, other)[0], atol=1e-3)


def test_refusals() -> None:
    with pytest.raises(UserError, match=r"vae.factor: found 13, .* 12 x 24"):
        PatchEncoder(CHANNELS, LATENTS, (ROWS, COLUMNS), 13, 8, 1)
    with pytest.raises(UserError, match=r"vae.latent_channels: found 13, expected at most 12"):
        PatchEncoder(CHANNELS, 13, (ROWS, COLUMNS), 2, 8, 1)


def test_latent_space_standardises_and_inverts() -> None:
    encoder, decoder = code(2, CHANNELS * 4)
    mean, sd = torch.randn(12), torch.rand(12) + 0.5
    space = LatentSpace(encoder, decoder, mean, sd)
    windows = fields(6).unflatten(0, (3, 2))
    with torch.no_grad():
        latents = space.encode(windows)
        assert latents.shape == (3, 2, 12, 6, 12)
        raw = encoder(windows[1], torch.ones_like(windows[1], dtype=torch.bool))[0]
        torch.testing.assert_close(
            latents[1] * sd[:, None, None] + mean[:, None, None], raw, rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(space.decode(latents), windows, rtol=1e-3, atol=1e-3)
        known = torch.rand(windows.shape) < 0.5
        torch.testing.assert_close(
            space.encode(windows, known), space.encode(torch.where(known, windows, 9.0), known)
        )
