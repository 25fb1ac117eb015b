"""Guidance: denoisers of the posterior, made from the denoiser of the prior and observations.

One interface for every kind: a `Denoiser` of `(M, ...)` states that wraps the prior's, so that
any sampler integrates it. No kind couples the members.
"""

from slams.diffusion.guidance.decg import DECGDenoiser, DenoisingErrors
from slams.diffusion.guidance.dps import DPSDenoiser
from slams.diffusion.guidance.mmps import below_sigma, mmps_denoiser
from slams.diffusion.guidance.pgdm import PGDMDenoiser
from slams.diffusion.guidance.sda import SDADenoiser
from slams.diffusion.posterior.background import BackgroundDenoiser, BackgroundGain, day_folds
from slams.diffusion.posterior.guided import jacobian_guidance
from slams.diffusion.posterior.pointwise import LatentObservation, PointwiseDenoiser

__all__ = [
    "BackgroundDenoiser",
    "BackgroundGain",
    "DECGDenoiser",
    "DPSDenoiser",
    "DenoisingErrors",
    "LatentObservation",
    "PGDMDenoiser",
    "PointwiseDenoiser",
    "SDADenoiser",
    "below_sigma",
    "day_folds",
    "jacobian_guidance",
    "mmps_denoiser",
]
