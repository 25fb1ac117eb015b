"""The denoiser of latent windows and its training loss.

The denoiser uses the preconditioning of Karras et al. 2022 (arXiv 2206.00364); the training noise
levels are log-normal; the loss is `(s^2 + sigma^2) / sigma^2 |D(x + sigma n) - x|^2`, `s^2` the
variance of the data about what the denoiser is centred on (`slams.diffusion.centred`; 1 for
standardised data), averaged over the sphere: each row of the grid is weighted by the area of its
cells, as in every score.
(Unweighted, the rows poleward of 60 degrees are a third of the loss but an eighth of the globe.)
Optional weights per channel multiply this. For any weights the best denoiser is `E[x | x_t]`, but
a network that does not reach it has its errors where they cost least.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slams.diffusion.backend import KarrasDenoiser, VESchedule, time_of_sigma
from slams.diffusion.centred import CentredDenoiser, data_variance

__all__ = ["NoiseDraw", "denoising_loss", "draw_noise", "make_denoiser"]


def make_denoiser(
    backbone: nn.Module,
    sigma_min: float = 1e-2,
    sigma_max: float = 1e2,
    departure_sd: Tensor | None = None,
) -> KarrasDenoiser:
    """Wrap a network into a denoiser, with unit data variance or centred on the background.

    Args:
        backbone: Network of `(B, T, K, h, w)` and `(B,)` log noise levels.
        sigma_min: Noise level at `t = 0`.
        sigma_max: Noise level at `t = 1`; the denoiser accepts levels outside this range.
        departure_sd: `(K,)` standard deviation of the data about the background, for a denoiser
            centred on it; `None` for a plain one.
    """
    schedule = VESchedule(sigma_min=sigma_min, sigma_max=sigma_max)
    if departure_sd is None:
        return KarrasDenoiser(backbone, schedule)
    return CentredDenoiser(backbone, schedule, departure_sd)


@dataclass(frozen=True)
class NoiseDraw:
    """Random numbers of one training step.

    Attributes:
        sigma: `(B,)` noise levels.
        noise: `(B, T, K, h, w)` standard normal.
        known: `(B,)` bool, False where the background is hidden.
    """

    sigma: Tensor
    noise: Tensor
    known: Tensor


def draw_noise(
    x: Tensor,
    mean: float,
    sd: float,
    condition_dropout: float,
    generator: torch.Generator | None = None,
) -> NoiseDraw:
    """Draw noise levels, noise and hidden conditions for a batch.

    Args:
        x: `(B, T, K, h, w)` clean latents (only shape and device are used).
        mean: Mean of log sigma.
        sd: Standard deviation of log sigma.
        condition_dropout: Probability that the background is hidden.
        generator: CPU generator; torch's default generator if not given, which training seeds at
            every step, so that a resumed run draws the same numbers as an uninterrupted one.
    """
    size = x.shape[0]
    log_sigma = mean + sd * torch.randn(size, generator=generator)
    known = torch.rand(size, generator=generator) >= condition_dropout
    noise = torch.randn(x.shape, generator=generator)
    return NoiseDraw(log_sigma.exp().to(x.device), noise.to(x), known.to(x.device))


def denoising_loss(
    denoiser: KarrasDenoiser,
    x: Tensor,
    draw: NoiseDraw,
    condition: Tensor | None = None,
    season: Tensor | None = None,
    age: Tensor | None = None,
    importance: Tensor | None = None,
    area: Tensor | None = None,
) -> Tensor:
    """Evaluate the weighted denoising error of each sample.

    Args:
        denoiser: The denoiser.
        x: `(B, T, K, h, w)` clean latents, standardised.
        draw: Noise levels, noise and hidden conditions.
        condition: `(B, T, K, h, w)` encoded background; `None` hides it.
        season: `(B,)` time of year in [0, 1).
        age: `(B,)` age of the condition, above 0; 1 by default.
        importance: `(K,)` weights of the channels; 1 by default.
        area: `(h,)` cell areas of the rows, mean 1; 1 by default, for data that are not on a
            sphere.

    Returns:
        `(B,)` loss.
    """
    sigma = draw.sigma.reshape(-1, *[1] * (x.ndim - 1))
    x_t = x + sigma * draw.noise
    t = time_of_sigma(draw.sigma, denoiser.schedule)
    known = draw.known if age is None else draw.known * age
    mean = denoiser(x_t, t, condition=condition, known=known, season=season).mean
    weight = (data_variance(denoiser, condition, known, x) + sigma**2) / sigma**2
    error = weight * (mean - x).square()
    if importance is not None:
        error = importance.reshape(-1, 1, 1) * error
    if area is not None:
        error = area.reshape(-1, 1) * error
    return error.flatten(1).mean(dim=1)
