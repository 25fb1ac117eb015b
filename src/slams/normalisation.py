"""The seasonal climatology, the standard deviations, and the conversions that they define.

With `f` in channel units, `tau` the time in years and `K` annual harmonics,

    climatology(tau) = a_0 + sum_k a_k cos(2 pi k tau) + b_k sin(2 pi k tau)
    normalised       = (f - climatology(tau)) / sd

at every grid point and channel. All of it comes from the training period alone. Where a store has
several steps per day, each of them has its own climatology, fitted to the steps of the same hour:
the mean diurnal cycle, and how it changes with the season, is then no anomaly. The standard
deviation is one for all hours.

The transforms lead from physical values `x` to channel units, and back:

    identity      f = x
    log1p         f = log(1 + max(x, 0))    x = exp(max(f, 0)) - 1    precipitation (mm day-1)
    square_root   f = sqrt(max(x, 0))       x = max(f, 0)^2           humidity (kg kg-1)

Errors and anomalies should be nearly Gaussian in channel units, with standard deviations that
differ little from place to place, because the networks, the latent statistics and every linear
method assume this. Both transforms treat values below zero as zero; their inverses never return
negative values.

The square root was chosen for humidity by measurement, in comparison with `x` itself, a cube root
and `log(1 + x / q0)`. In one year of the nature run (925, 850, 700, 500 hPa, anomalies from two
annual harmonics; smallest to largest of the four levels):

                                     x          root       q0 = 1e-5    1e-4        1e-3 kg kg-1
    sd, 98th over 2nd percentile     15 to 28   3 to 8     6 to 52      4 to 28     7 to 14
    skewness, rms over the globe     .55-.70    .50-.62    .83-1.46     .68-1.15    .60-.78

Humidity spans four decades, so that without a transform an error in the tropics has many times
the weight of one at the poles; a logarithm with a small constant turns dry air into outliers (2
to 3 % of the values are zero). The square root needs no constant, and its inverse cannot overflow.
Soundings over Vienna agree: the skewness at 850, 700, 500, 300 hPa is -1.2, -.3, -.1, .1 with the
root, -3.0, -1.1, -.7, -.4 with `q0` = 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from slams.fields import FieldSpec

__all__ = [
    "DAYS_PER_YEAR",
    "TRANSFORMS",
    "Normaliser",
    "Transform",
    "harmonic_basis",
    "step_of_day",
]

DAYS_PER_YEAR = 365.2425


@dataclass(frozen=True)
class Transform:
    """A transform and its inverse; missing values (NaN) stay missing.

    Attributes:
        forward: From physical values to channel units, any shape.
        inverse: From channel units to physical values, any shape.
        forward_array: As `forward`, for NumPy arrays; may return the input itself.
        error: From physical values and the standard deviation of their error to that in channel
            units: the error times the slope of the transform at the value.
    """

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]
    forward_array: Callable[[np.ndarray], np.ndarray]
    error: Callable[[np.ndarray, np.ndarray], np.ndarray]


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


def _same_error(physical: np.ndarray, error: np.ndarray) -> np.ndarray:
    return error


def _log1p_error(physical: np.ndarray, error: np.ndarray) -> np.ndarray:
    return error / (1.0 + np.maximum(physical, 0.0))


def _sqrt_error(physical: np.ndarray, error: np.ndarray) -> np.ndarray:
    # The slope is infinite at zero: take it no closer to zero than one error.
    return error / (2.0 * np.sqrt(np.maximum(physical, error)))


def _sqrt(physical: Tensor) -> Tensor:
    return physical.clamp(min=0).sqrt()


def _square(channel_units: Tensor) -> Tensor:
    return channel_units.clamp(min=0).square()


def _sqrt_array(physical: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(physical, 0.0))


# The keys are those of `slams.variables.TRANSFORM_UNITS`.
TRANSFORMS: dict[str, Transform] = {
    "identity": Transform(_same, _same, _same_array, _same_error),
    "log1p": Transform(_log1p, _expm1, _log1p_array, _log1p_error),
    "square_root": Transform(_sqrt, _square, _sqrt_array, _sqrt_error),
}


def harmonic_basis(time: Tensor, harmonics: int, per_day: int = 1) -> Tensor:
    """Evaluate the annual harmonics.

    Args:
        time: `(...)` days since 1970-01-01 00 UTC.
        harmonics: Number `K` of annual harmonics.
        per_day: Number `S` of steps per day, each with harmonics of its own.

    Returns:
        `(..., S (2K + 1))` float64: 1, cos, sin, cos 2, sin 2, ... for the first step of the day,
        then for the second, and so on; zero for all steps but that of the time.
    """
    if per_day > 1:
        own = harmonic_basis(time, harmonics).unsqueeze(-2)
        at = torch.nn.functional.one_hot(step_of_day(time, per_day), per_day).unsqueeze(-1)
        return (at * own).flatten(-2)
    phase = 2 * math.pi * time.to(torch.float64) / DAYS_PER_YEAR
    columns = [torch.ones_like(phase)]
    for k in range(1, harmonics + 1):
        columns += [torch.cos(k * phase), torch.sin(k * phase)]
    return torch.stack(columns, dim=-1)


def step_of_day(time: Tensor, per_day: int) -> Tensor:
    """Return the number of the step of the day nearest to each time, int64 from 0 on.

    Args:
        time: `(...)` days since 1970-01-01 00 UTC.
        per_day: Number of steps per day.
    """
    return (time.to(torch.float64) * per_day).round().to(torch.int64) % per_day


class Normaliser(nn.Module):
    """Conversion between the physical, channel-unit and normalised representations.

    Args:
        channels: The `C` channels.
        harmonics: `(S (2K + 1), C, H, W)` coefficients of the climatology, channel units, those of
            each step of the day one after the other.
        sd: `(C, H, W)` standard deviations, channel units.
        per_day: Number `S` of steps per day.

    Raises:
        ValueError: Shapes disagree, or a standard deviation is not positive.
    """

    harmonics: Tensor
    sd: Tensor

    def __init__(
        self,
        channels: Sequence[FieldSpec],
        harmonics: Tensor,
        sd: Tensor,
        per_day: int = 1,
    ) -> None:
        super().__init__()
        self.per_day = per_day
        if harmonics.shape[1:] != sd.shape or sd.shape[0] != len(channels):
            raise ValueError(
                f"climatology {tuple(harmonics.shape)}, standard deviation {tuple(sd.shape)} and "
                f"{len(channels)} channels disagree; expected (2K+1, C, H, W) and (C, H, W)"
            )
        if not bool((sd > 0).all()):
            raise ValueError("standard deviations must be positive at every grid point")
        self.channels = tuple(channels)
        self.register_buffer("harmonics", harmonics.to(torch.float32))
        self.register_buffer("sd", sd.to(torch.float32))
        groups = _transformed(self.channels)
        self._forward = [(transform.forward, index) for transform, index in groups]
        self._inverse = [(transform.inverse, index) for transform, index in groups]

    def climatology(self, time: Tensor) -> Tensor:
        """Evaluate the climatology at `(B, T)` times; return `(B, T, C, H, W)` channel units."""
        if self.per_day > 1:
            return self._of_steps(time)
        basis = harmonic_basis(time, (self.harmonics.shape[0] - 1) // 2)
        basis = basis.to(self.harmonics.device, torch.float32)
        # Term by term, not as a matrix product, whose rounding depends on the batch size.
        first, *terms = basis[..., None, None, None, :].unbind(dim=-1)
        climatology = first * self.harmonics[0]
        # Two arrays are reused for all terms: allocating new ones costs more than the sums.
        product = torch.empty_like(climatology)
        for weight, harmonic in zip(terms, self.harmonics[1:], strict=True):
            climatology += torch.mul(weight, harmonic, out=product)
        return climatology

    def _of_steps(self, time: Tensor) -> Tensor:
        """Evaluate the climatology of the step of the day of each time, as `climatology`."""
        size = self.harmonics.shape[0] // self.per_day
        basis = harmonic_basis(time, (size - 1) // 2).to(self.harmonics.device, torch.float32)
        first = step_of_day(time, self.per_day).to(self.harmonics.device) * size
        climatology = self.harmonics[first]
        for term in range(1, size):
            weight = basis[..., term, None, None, None]
            climatology = climatology + weight * self.harmonics[first + term]
        return climatology

    def to_channel_units(self, physical: Tensor) -> Tensor:
        """Apply each channel's transform to `(..., C, H, W)` physical values."""
        return _changed(physical, self._forward)

    def to_physical(self, channel_units: Tensor) -> Tensor:
        """Invert the transforms; precipitation and humidity are never negative."""
        return _changed(channel_units, self._inverse)

    def normalise(self, physical: Tensor, climatology: Tensor) -> Tensor:
        """Normalise `(B, T, C, H, W)` physical values about a climatology; NaN stays NaN."""
        return (self.to_channel_units(physical) - climatology) / self.sd

    def denormalise(self, normalised: Tensor, climatology: Tensor) -> Tensor:
        """Convert normalised values to channel units.

        Args:
            normalised: `(B, [M,] T, C, H, W)`.
            climatology: `(B, T, C, H, W)` channel units, see `Batch.climatology`.
        """
        if normalised.ndim == climatology.ndim + 1:
            climatology = climatology.unsqueeze(1)
        return normalised * self.sd + climatology


def _changed(
    values: Tensor, changes: Sequence[tuple[Callable[[Tensor], Tensor], list[int]]]
) -> Tensor:
    """Apply functions to some channels of `(..., C, H, W)`; return the input if there are none."""
    out = values.clone() if changes else values
    for change, index in changes:
        out[..., index, :, :] = change(values[..., index, :, :])
    return out


def _transformed(channels: Sequence[FieldSpec]) -> list[tuple[Transform, list[int]]]:
    """Group the channels that have a transform by that transform."""
    groups: dict[str, list[int]] = {}
    for index, spec in enumerate(channels):
        if spec.transform != "identity":
            groups.setdefault(spec.transform, []).append(index)
    return [(TRANSFORMS[name], index) for name, index in groups.items()]
