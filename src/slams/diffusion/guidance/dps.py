r"""Diffusion posterior sampling (DPS; Chung et al. 2023, arXiv 2209.14687).

The authors follow each step of an ancestral sampler of the variance-preserving process by a
step of length `zeta` down the gradient of the misfit, `x_s <- x_s - zeta grad ||y - A(D)||`. The
norm is computed per sample. (With a norm over the batch, the guidance of a member decreases as one
over the square root of the number of members.) In the variance-exploding notation used here, where
`x = x_VP / alpha` and `alpha^2 = 1 / (1 + sigma_t^2)`, the step has length `zeta (1 + sigma_t^2)`.
As a denoiser, for any sampler,

    E[z | z_t, y] = D - zeta (1 + sigma_t^2) grad_{z_t} ||d / s||,

    w = zeta (1 + sigma_t^2) / sigma_t^2 * (d / s^2) / ||d / s||.

An ancestral step moves by the fraction `1 - sigma_s^2 / sigma_t^2` of a change of the denoised
mean, the same at every step of log-spaced levels: this is the authors' rule with a step length
smaller by this factor. `s` brings observations of different units to one scale, as in
`slams.diffusion.guidance.sda`. The observation error `R` does not enter: the spread of the samples
follows `zeta`, not the posterior.

Measured by `slams bench posterior` (16 noise levels, `zeta = 1`): mean off by 0.4-1.2 posterior
standard deviations, ensemble over posterior standard deviation 0.8-2.5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.diffusion.posterior.likelihood import LikelihoodGuidance
from slams.plugins.guidance import GuidanceSpec

__all__ = ["SPEC", "DPSDenoiser"]


class DPSDenoiser(LikelihoodGuidance):
    """Guidance by steps of fixed length down the gradient of each sample's misfit."""

    def weights(self, innovation: Tensor, sigma_t: Tensor, mean: Tensor) -> Tensor:
        """Return minus the gradient of each sample's norm, times the step length."""
        scale = self.problem.scale
        # A misfit has no likelihood that could be censored: any value below the bound fits.
        innovation = torch.where(self.silent, innovation.clamp(max=0), innovation)
        scaled = innovation / scale
        norm = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
        length = self.problem.settings.zeta * (1 + sigma_t**2) / sigma_t**2
        # The norm has no gradient at a sample that fits its observations exactly.
        return length * scaled / scale / norm.clamp(min=torch.finfo(norm.dtype).tiny)


SPEC = GuidanceSpec("dps", DPSDenoiser)
