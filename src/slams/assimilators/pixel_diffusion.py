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

from dataclasses import dataclass, replace
from typing import Self

from slams.assimilators.latent_diffusion import LatentDiffusion
from slams.assimilators.materials import Materials
from slams.methods.specifications import PIXEL_DIFFUSION as SPEC

__all__ = ["PixelDiffusion", "build"]


@dataclass(eq=False, repr=False)
class PixelDiffusion(LatentDiffusion):
    """Guided sampling of the score model of the fields.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid of the fields.
        seed: The experiment's seed.
        space: Space of the standardised fields.
        denoiser: The trained denoiser of windows of standardised fields.
        guidance: How observations enter; here both likelihood spaces are the fields.
        sampler: How the reverse diffusion is integrated.
        unseen: As `LatentDiffusion`.
        noise_scale: Factor on the noise levels of sampler and guidance.

    Raises:
        UserError: As `LatentDiffusion`; in `analyse` also if the background has a missing value.
    """

    name = SPEC.name

    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        scale = self.noise_scale
        self.residual = None  # nothing is decoded
        self.guidance = replace(
            self.guidance, likelihood="decoder", below_sigma=scale * self.guidance.below_sigma
        )
        self.sampler = replace(
            self.sampler,
            sigma_max=scale * self.sampler.sigma_max,
            sigma_min=scale * self.sampler.sigma_min,
        )
        super().__post_init__()

    @classmethod
    def build(cls, materials: Materials) -> Self:
        """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
        return cls._of(materials, *materials.networks.pixel_score())


build = PixelDiffusion.build
