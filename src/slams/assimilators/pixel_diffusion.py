"""Diffusion of the fields themselves: score-based assimilation without a latent space.

This is the baseline of the original SLAMS (score-based data assimilation, Rozet and Louppe 2023,
arXiv 2306.10574): the same denoiser, guidance and sampler as `latent_diffusion`, with the identity
instead of encoder and decoder, so that `H` acts on the state directly and there is no decoder
error. The cost is that of the grid, which has 16 times the points of a latent space with a factor
of four.

Noise levels of the two spaces are not comparable. It takes n times as much noise to hide a mean
over n x n points as to hide one point (Hoogeboom et al. 2023, arXiv 2301.11093), so that all
levels, of training (`score.noise_mean`) and of sampling, are higher by a factor of about n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from slams.assimilators.base import Archive
from slams.assimilators.latent_diffusion import LatentDiffusion
from slams.assimilators.materials import Materials
from slams.diffusion.backend import Denoiser
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.grid import LatLonGrid
from slams.methods.specifications import PIXEL_DIFFUSION as SPEC
from slams.nn.latent_space import IdentitySpace
from slams.normalisation import Normaliser

__all__ = ["PixelDiffusion", "build"]


class PixelDiffusion(LatentDiffusion):
    """Guided sampling of the score model of the fields.

    Args:
        space: Space of the standardised fields.
        denoiser: The trained denoiser of windows of standardised fields.
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid of the fields.
        seed: The experiment's seed.
        guidance: How observations enter; here both likelihood spaces are the fields.
        sampler: How the reverse diffusion is integrated.
        noise_scale: Factor on the noise levels of sampler and guidance.
        unseen: As `LatentDiffusion`.

    Raises:
        UserError: As `LatentDiffusion`; in `analyse` also if the background has a missing value.
    """

    name = SPEC.name

    def __init__(
        self,
        space: IdentitySpace,
        denoiser: Denoiser,
        normaliser: Normaliser,
        grid: LatLonGrid,
        seed: int,
        guidance: GuidanceSettings,
        sampler: SamplerSettings,
        noise_scale: float = 1.0,
        unseen: Callable[[], Archive] | None = None,
    ) -> None:
        guidance = replace(
            guidance, likelihood="decoder", below_sigma=noise_scale * guidance.below_sigma
        )
        sampler = replace(
            sampler,
            sigma_max=noise_scale * sampler.sigma_max,
            sigma_min=noise_scale * sampler.sigma_min,
        )
        super().__init__(space, denoiser, normaliser, grid, seed, guidance, sampler, unseen)


def build(materials: Materials) -> PixelDiffusion:
    """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
    return PixelDiffusion(
        *materials.networks.pixel_score(),
        materials.normaliser,
        materials.grid,
        materials.seed,
        materials.guidance,
        materials.sampler,
        **materials.settings_of(SPEC.settings_section),
        unseen=materials.unseen,
    )
