"""The transforms from physical values to channel units, and back.

    identity      c = x
    log1p         c = log(1 + max(x, 0))    x = exp(max(c, 0)) - 1    precipitation (mm day-1)
    square_root   c = sqrt(max(x, 0))       x = max(c, 0)^2           humidity (kg kg-1)

Errors and anomalies should be near-Gaussian in channel units, with standard deviations that
differ little from place to place, since the networks, the latent statistics and every linear
method assume so. Both transforms take values below zero for zero, their inverses never return one.

The root was chosen for humidity by measurement, against `x` itself, a cube root and
`log(1 + x / q0)`. In a year of the nature run (925, 850, 700, 500 hPa, anomalies from two annual
harmonics; smallest to largest of the four levels):

                                     x          root       q0 = 1e-5    1e-4        1e-3 kg kg-1
    sd, 98th over 2nd percentile     15 to 28   3 to 8     6 to 52      4 to 28     7 to 14
    skewness, rms over the globe     .55-.70    .50-.62    .83-1.46     .68-1.15    .60-.78

Humidity spans four decades, so that a raw error in the tropics weighs many times one at the poles;
a logarithm with a small constant makes outliers of dry air (2 to 3 % of the values are zero). The
root needs no constant, and its inverse cannot overflow. Soundings over Vienna agree: skewness at
850, 700, 500, 300 hPa of -1.2, -.3, -.1, .1 with the root, -3.0, -1.1, -.7, -.4 with `q0` = 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["TRANSFORMS", "Transform"]


@dataclass(frozen=True)
class Transform:
    """Hold a transform and its inverse; missing values (NaN) stay missing.

    Attributes:
        forward: From physical values to channel units, any shape.
        inverse: From channel units to physical values, any shape.
        forward_array: As `forward`, for arrays of NumPy; may return the input itself.
    """

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]
    forward_array: Callable[[np.ndarray], np.ndarray]


def _same(values: Tensor) -> Tensor:
    return values


def _same_array(values: np.ndarray) -> np.ndarray:
    return values


def _log1p(physical: Tensor) -> Tensor:
    return torch.log1p(physical.clamp(min=0))


def _expm1(channel_units: Tensor) -> Tensor:
    return torch.expm1(channel_units.clamp(min=0))


def _log1p_array(physical: np.ndarray) -> np.ndarray:
    return np.log1p(np.maximum(physical, 0.0))


def _sqrt(physical: Tensor) -> Tensor:
    return physical.clamp(min=0).sqrt()


def _square(channel_units: Tensor) -> Tensor:
    return channel_units.clamp(min=0).square()


def _sqrt_array(physical: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(physical, 0.0))


# By the names of `slams.variables.TRANSFORM_UNITS`.
TRANSFORMS: dict[str, Transform] = {
    "identity": Transform(_same, _same, _same_array),
    "log1p": Transform(_log1p, _expm1, _log1p_array),
    "square_root": Transform(_sqrt, _square, _sqrt_array),
}
