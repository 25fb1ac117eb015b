"""Scaling by the observation error, which makes observations of different units comparable."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["error_unit", "positive_variance"]

# Replaces an error variance of 0 (units of the observation squared).
_SMALLEST_VARIANCE = 1e-12


def error_unit(variance: Tensor) -> Tensor:
    """Return the standard deviation of each observation's error, to divide the observation by.

    Args:
        variance: `(..., P)` diagonal of `R`, units of the observations squared.

    Returns:
        `(..., P)` units of the observations; 1 where the error is zero, so that an exact
        observation keeps its own unit.
    """
    return torch.where(variance > 0, variance.sqrt(), 1.0)


def positive_variance(variance: Tensor) -> Tensor:
    """Replace error variances of 0 by a tiny one; leave all others unchanged, however small.

    Args:
        variance: `(..., P)` diagonal of `R`, units of the observations squared.
    """
    return torch.where(variance > 0, variance, _SMALLEST_VARIANCE)
