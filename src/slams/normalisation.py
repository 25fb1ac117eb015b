"""The seasonal climatology, the standard deviations, and the conversions that they define.

With `f` in channel units, `tau` the time in years and `K` annual harmonics,

    climatology(tau) = a_0 + sum_k a_k cos(2 pi k tau) + b_k sin(2 pi k tau)
    normalised       = (f - climatology(tau)) / sd

at every grid point and channel. All of it comes from the training period alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slams.fields import FieldSpec
from slams.transforms import TRANSFORMS, Transform

__all__ = ["DAYS_PER_YEAR", "Normaliser", "harmonic_basis"]

DAYS_PER_YEAR = 365.2425


def harmonic_basis(time: Tensor, harmonics: int) -> Tensor:
    """Evaluates the annual harmonics.

    Args:
        time: `(...)` days since 1970-01-01 00 UTC.
        harmonics: Number `K` of annual harmonics.

    Returns:
        `(..., 2K + 1)` float64: 1, cos, sin, cos 2, sin 2, ...
    """
    phase = 2 * math.pi * time.to(torch.float64) / DAYS_PER_YEAR
    columns = [torch.ones_like(phase)]
    for k in range(1, harmonics + 1):
        columns += [torch.cos(k * phase), torch.sin(k * phase)]
    return torch.stack(columns, dim=-1)


class Normaliser(nn.Module):
    """Converts between physical, channel and normalised representations.

    Args:
        channels: The `C` channels.
        harmonics: `(2K + 1, C, H, W)` coefficients of the climatology, channel units.
        sd: `(C, H, W)` standard deviations, channel units.

    Raises:
        ValueError: Shapes disagree, or a standard deviation is not positive.
    """

    harmonics: Tensor
    sd: Tensor

    def __init__(self, channels: Sequence[FieldSpec], harmonics: Tensor, sd: Tensor) -> None:
        super().__init__()
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
        self._transformed = _transformed(self.channels)

    def climatology(self, time: Tensor) -> Tensor:
        """Evaluates the climatology at `(B, T)` times; gives `(B, T, C, H, W)` channel units."""
        basis = harmonic_basis(time, (self.harmonics.shape[0] - 1) // 2)
        basis = basis.to(self.harmonics.device, torch.float32)
        # Term by term and not as a matrix product, whose rounding depends on the batch size.
        first, *terms = basis[..., None, None, None, :].unbind(dim=-1)
        climatology = first * self.harmonics[0]
        # Two arrays for all terms: fresh ones for each cost more than the sums.
        product = torch.empty_like(climatology)
        for weight, harmonic in zip(terms, self.harmonics[1:], strict=True):
            climatology += torch.mul(weight, harmonic, out=product)
        return climatology

    def to_channel_units(self, physical: Tensor) -> Tensor:
        """Applies each channel's transform to `(..., C, H, W)` physical values."""
        if not self._transformed:
            return physical
        out = physical.clone()
        for transform, index in self._transformed:
            out[..., index, :, :] = transform.forward(physical[..., index, :, :])
        return out

    def to_physical(self, channel_units: Tensor) -> Tensor:
        """Invert the transforms; precipitation and humidity are never negative."""
        if not self._transformed:
            return channel_units
        out = channel_units.clone()
        for transform, index in self._transformed:
            out[..., index, :, :] = transform.inverse(channel_units[..., index, :, :])
        return out

    def normalise(self, physical: Tensor, climatology: Tensor) -> Tensor:
        """Normalises `(B, T, C, H, W)` physical values about a climatology; NaN stays NaN."""
        return (self.to_channel_units(physical) - climatology) / self.sd

    def denormalise(self, normalised: Tensor, climatology: Tensor) -> Tensor:
        """Gives channel units from normalised values.

        Args:
            normalised: `(B, [M,] T, C, H, W)`.
            climatology: `(B, T, C, H, W)` channel units, see `Batch.climatology`.
        """
        if normalised.ndim == climatology.ndim + 1:
            climatology = climatology.unsqueeze(1)
        return normalised * self.sd + climatology


def _transformed(channels: Sequence[FieldSpec]) -> list[tuple[Transform, list[int]]]:
    """Group the channels that have a transform by it."""
    groups: dict[str, list[int]] = {}
    for index, spec in enumerate(channels):
        if spec.transform != "identity":
            groups.setdefault(spec.transform, []).append(index)
    return [(TRANSFORMS[name], index) for name, index in groups.items()]
