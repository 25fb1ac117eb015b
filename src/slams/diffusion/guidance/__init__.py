"""Guidance: denoisers of the posterior, made from the denoiser of the prior and observations."""

from slams.diffusion.guidance.decg import DECGDenoiser, DenoisingErrors
from slams.diffusion.guidance.mmps import below_sigma, mmps_denoiser

__all__ = ["DECGDenoiser", "DenoisingErrors", "below_sigma", "mmps_denoiser"]
