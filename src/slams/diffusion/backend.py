"""The only module that imports azula: its schedules, denoisers, guidance and samplers.

All other modules import these names from here, so that a change in azula affects one place.
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
    "WrappedDenoiser",
    "conjugate_gradients",
    "generalized_minimal_residual",
    "time_of_sigma",
]

# Exponential Adams-Bashforth in the data prediction; at second order it is DPM-Solver++ 2M.
AdamsBashforthSampler = xEABSampler


class WrappedDenoiser(Denoiser):
    """Base class of denoisers that wrap another one and have its schedule.

    Args:
        denoiser: The other denoiser.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    @property
    def schedule(self) -> VESchedule:
        """Return the schedule of the wrapped denoiser."""
        return self.denoiser.schedule


def time_of_sigma(sigma: Tensor, schedule: VESchedule) -> Tensor:
    """Return the time `t` at which a variance-exploding schedule has the noise level `sigma`."""
    low, high = math.log(schedule.sigma_min), math.log(schedule.sigma_max)
    return (torch.log(sigma) - low) / (high - low)
