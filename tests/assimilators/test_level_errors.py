"""Errors of unmeasured noise levels have the covariance of those levels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from slams.assimilators.level_errors import (
    HalfTensor,
    LevelErrors,
    spread_levels,
)
from slams.diffusion.posterior.errors import DenoisingErrors
from slams.diffusion.sampling import noise_levels
from slams.diffusion.settings import SamplerSettings

LEVELS = noise_levels(SamplerSettings())
DAYS, POINTS, CHANNELS = 20000, 6, 3
CPU = torch.device("cpu")


def prior(channel: int) -> Tensor:
    """Return the covariance of a channel between its points; each has another variance."""
    away = torch.arange(POINTS, dtype=torch.float64)
    return (0.3 + channel) ** 2 * torch.exp(-(away[:, None] - away).abs() / (1 + 2 * channel))


def gaussian_errors(at: list[int]) -> LevelErrors:
    """Measure the errors of exact denoisers of Gaussian channels, observed in other units."""
    draw = torch.Generator().manual_seed(0)
    shape = (DAYS, CHANNELS, POINTS)
    roots = torch.stack([torch.linalg.cholesky(prior(k)) for k in range(CHANNELS)])
    white = torch.randn(shape, generator=draw, dtype=torch.float64)
    truth = torch.einsum("kij,nkj->nki", roots, white)
    latent, observed = [], []
    for level in at:
        noise = torch.randn(shape, generator=draw, dtype=torch.float64)
        sigma = float(LEVELS[level])
        errors = []
        for k in range(CHANNELS):
            gain = prior(k) @ torch.linalg.inv(prior(k) + sigma**2 * torch.eye(POINTS))
            errors.append(truth[:, k] - (truth[:, k] + sigma * noise[:, k]) @ gain.T)
        error = torch.stack(errors, dim=1)
        latent.append(HalfTensor.of(error[:, None, :, None], (0, 1, 3, 4)))
        observed.append(HalfTensor.of(1e5 * error.sum(dim=1), (0,)))
    factor = torch.ones(len(at), CHANNELS)
    return LevelErrors(LEVELS, at, latent, observed, factor, CPU)


def covariances(errors: DenoisingErrors) -> tuple[Tensor, Tensor, Tensor]:
    z, y = errors.latent.double(), errors.observed.double() / 1e5
    count = len(z) - 1
    return (
        torch.einsum("nks,nkt->kst", z, z) / count,
        torch.einsum("nks,nq->ksq", z, y) / count,
        y.T @ y / count,
    )


def exact(sigma: float) -> Tensor:
    unit = torch.eye(POINTS, dtype=torch.float64)
    return torch.stack(
        [torch.linalg.inv(torch.linalg.inv(prior(k)) + unit / sigma**2) for k in range(CHANNELS)]
    )


def worst(errors: DenoisingErrors, sigma: float) -> Tensor:
    """Return the largest departure from the closed form, in units of the deviations."""
    expected = exact(sigma)
    deviation = expected.diagonal(dim1=1, dim2=2).sqrt()
    total = expected.sum(dim=0).diagonal().sqrt()
    pairs = (
        (expected, deviation[:, :, None] * deviation[:, None]),
        (expected, deviation[:, :, None] * total),
        (expected.sum(dim=0), total[:, None] * total),
    )
    found = covariances(errors)
    return torch.stack(
        [((a - b) / scale).abs().max() for a, (b, scale) in zip(found, pairs, strict=True)]
    )


@pytest.mark.parametrize(("measured", "close"), [(16, 0.04), (9, 0.1), (6, 0.18)])
def test_the_covariance_between_levels_is_that_of_a_gaussian(measured: int, close: float) -> None:
    """Between latents, between latents and observations, and between observations.

    Channels have modes of many sizes, so that no variance is exact. Nine levels are every second.
    """
    at = spread_levels(len(LEVELS), measured)
    errors = gaussian_errors(at)
    assert len(errors) == len(LEVELS)
    for level, sigma in enumerate(LEVELS.tolist()):
        assert float(worst(errors[level], sigma).max()) < close


@pytest.mark.parametrize("measured", [9, 6])
def test_the_variance_of_a_gaussian_of_one_size_is_exact(measured: int) -> None:
    """White noise of variance s^2: the error has sigma^2 s^2 / (sigma^2 + s^2) at every level."""
    draw = torch.Generator().manual_seed(3)
    truth = 2 * torch.randn(DAYS, 1, 1, 1, 4, generator=draw)
    at = spread_levels(len(LEVELS), measured)
    latent = []
    for sigma in LEVELS[at]:
        noise = torch.randn(truth.shape, generator=draw)
        latent.append(truth - 4 / (4 + sigma**2) * (truth + sigma * noise))
    errors = LevelErrors(
        LEVELS,
        at,
        [HalfTensor.of(x, (0, 1, 3, 4)) for x in latent],
        [HalfTensor.of(3 * x.flatten(1), (0,)) for x in latent],
        torch.ones(measured, 1),
        CPU,
    )
    for sigma, one in zip(LEVELS.tolist(), errors, strict=True):
        known = 4 * sigma**2 / (4 + sigma**2)
        assert float(one.latent.var()) == pytest.approx(known, rel=0.02)
        assert float(one.observed.var()) == pytest.approx(9 * known, rel=0.02)


def test_measured_levels_are_those_measured() -> None:
    draw = torch.Generator().manual_seed(1)
    latent = [torch.randn(7, 2, 3, 2, 2, generator=draw) for _ in range(3)]
    observed = [1e6 * torch.randn(7, 5, generator=draw) for _ in range(3)]
    factor = 1 + torch.rand(3, 3, generator=draw)
    errors = LevelErrors(
        LEVELS[:5],
        [0, 2, 4],
        [HalfTensor.of(x, (0, 1, 3, 4)) for x in latent],
        [HalfTensor.of(x, (0,)) for x in observed],
        factor,
        CPU,
    )
    for number, level in enumerate((0, 2, 4)):
        scaled = latent[number] * factor[number].reshape(-1, 1, 1)
        expected = DenoisingErrors.centred(scaled, observed[number])
        torch.testing.assert_close(errors[level].latent, expected.latent, rtol=0, atol=3e-3)
        torch.testing.assert_close(errors[level].observed, expected.observed, rtol=0, atol=2e3)
        assert errors[level].latent.dtype == errors[level].observed.dtype == torch.float32
    assert torch.equal(errors[-1].latent, errors[4].latent)
    assert len(list(errors)) == 5
    with pytest.raises(IndexError):
        errors[5]


def test_a_point_without_errors_has_none_at_any_level() -> None:
    values = [torch.zeros(4, 1, 1, 1, 2), torch.zeros(4, 1, 1, 1, 2)]
    errors = LevelErrors(
        LEVELS[:3],
        [0, 2],
        [HalfTensor.of(x, (0, 1, 3, 4)) for x in values],
        [HalfTensor.of(x.flatten(1), (0,)) for x in values],
        torch.ones(2, 1),
        CPU,
    )
    for one in errors:
        assert not one.latent.any()
        assert not one.observed.any()


def test_biases_of_the_measured_levels_do_not_widen_those_between() -> None:
    """Two neighbouring levels are wrong by different constants, which are no spread."""
    draw = torch.Generator().manual_seed(3)
    at = spread_levels(len(LEVELS), 6)
    latent = [torch.randn(DAYS, 1, 1, 1, 4, generator=draw) + 5 * (-1) ** k for k in range(6)]
    errors = LevelErrors(
        LEVELS,
        at,
        [HalfTensor.of(x, (0, 1, 3, 4)) for x in latent],
        [HalfTensor.of(x.flatten(1), (0,)) for x in latent],
        torch.ones(6, 1),
        CPU,
    )
    for one in errors:
        assert float(one.latent.mean(dim=0).abs().max()) < 1e-4
        # Days of the two levels: a difference of ten between them would look like correlation.
        correlation = torch.corrcoef(one.latent[:, 0].T)
        assert float((correlation - torch.eye(4)).abs().max()) < 0.3


def test_levels_are_spread_from_the_first_to_the_last() -> None:
    assert spread_levels(16, 0) == spread_levels(16, 16) == spread_levels(16, 20) == [*range(16)]
    assert spread_levels(16, 6) == [0, 3, 6, 9, 12, 15]
    assert spread_levels(16, 2) == [0, 15]


def test_errors_have_two_bytes_per_value() -> None:
    """As `slams.stages.memory` counts them, with the scales of the observed points."""
    latent = [HalfTensor.of(torch.randn(7, 2, 3, 4, 5), (0, 1, 3, 4)) for _ in range(3)]
    observed = [HalfTensor.of(torch.randn(7, 11), (0,)) for _ in range(3)]
    size = sum(x.values.nbytes for x in (*latent, *observed))
    size += sum(x.scale.nbytes for x in observed)
    assert size == 2 * 3 * 7 * (2 * 3 * 4 * 5 + 11) + 4 * 3 * 11


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_half_precision_keeps_three_digits_in_any_units(scale: float) -> None:
    values = scale * torch.randn(50, 20, generator=torch.Generator().manual_seed(2))
    found = HalfTensor.of(values, (0,)).full(CPU)
    worst = (found - values).abs().amax(dim=0) / values.abs().amax(dim=0)
    assert float(worst.max()) < 2**-11
