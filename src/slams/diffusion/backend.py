"""The one module that touches azula: schedules, denoisers, guidance and samplers it provides.

Everything else imports these names from here, so that a change in azula is met in one place.
"""

from __future__ import annotations

import math

import torch
from azula.denoise import Denoiser, DiracPosterior, GaussianDenoiser, KarrasDenoiser
from azula.guidance.mmps import MMPSDenoiser
from azula.linalg.covariance import DiagonalCovariance, FullCovariance
from azula.linalg.solve import cg as conjugate_gradients
from azula.linalg.solve import gmres as generalized_minimal_residual
from azula.noise import Schedule, VESchedule
from azula.sample import EulerSampler, HeunSampler, Sampler, xEABSampler
from torch import Tensor

__all__ = [
    "AdamsBashforthSampler",
    "Denoiser",
    "DiagonalCovariance",
    "DiracPosterior",
    "EulerSampler",
    "FullCovariance",
    "GaussianDenoiser",
    "HeunSampler",
    "KarrasDenoiser",
    "MMPSDenoiser",
    "Sampler",
    "Schedule",
    "VESchedule",
    "conjugate_gradients",
    "generalized_minimal_residual",
    "time_of_sigma",
]

# Exponential Adams-Bashforth in the data prediction; of second order it is DPM-Solver++ 2M.
AdamsBashforthSampler = xEABSampler


def time_of_sigma(sigma: Tensor, schedule: VESchedule) -> Tensor:
    """Invert a variance-exploding schedule: the time `t` at which the noise level is `sigma`."""
    low, high = math.log(schedule.sigma_min), math.log(schedule.sigma_max)
    return (torch.log(sigma) - low) / (high - low)
