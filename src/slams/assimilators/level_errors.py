r"""Denoising errors of all noise levels of a sampler, held in half precision.

Errors are used for covariances only, for which 11 bits are enough. Each latent channel and each
observed point has a scale, so that units do not matter; one level at a time is converted to single
precision, when it is asked for.

Errors need not be measured at every level. Between two measured levels `i` and `j` they are

    e = g [ (1 - w) e_i / V_i^(1/2) + w e_j / V_j^(1/2) ],    w linear in log sigma,

with `V` the variance of a latent feature, or of an observed point, and with `g` such that the
variance of `e` is the harmonic mean

    1 / V = (1 - u) / V_i + u / V_j,    u linear in 1 / sigma^2.

For a Gaussian of variance `s^2` and its exact denoiser `1 / V = 1 / s^2 + 1 / sigma^2`, so that
the variance is exact. The errors of all levels are those of the same days with the same noise
(`DenoisingArchive`): with a noise of its own at each level the sum would mix unrelated errors, and
correlations between latents and observations would be lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.diffusion.posterior.errors import DenoisingErrors

__all__ = ["HalfTensor", "LevelErrors", "denoising_error_bytes", "spread_levels"]


@dataclass(frozen=True)
class HalfTensor:
    """A tensor in half precision, with scales.

    Attributes:
        values: float16, in [-1, 1].
        scale: float32, the factors on `values`, of a shape that broadcasts.
    """

    values: Tensor
    scale: Tensor

    @classmethod
    def of(cls, tensor: Tensor, dims: tuple[int, ...]) -> HalfTensor:
        """Round a tensor.

        Args:
            tensor: Any tensor.
            dims: Dimensions along which the scale is the same.
        """
        tensor = tensor.detach().to("cpu", torch.float32)
        largest = tensor.abs().amax(dim=dims, keepdim=True)
        scale = torch.where(largest > 0, largest, 1.0)
        return cls((tensor / scale).to(torch.float16), scale)

    def full(self, device: torch.device) -> Tensor:
        """Return the tensor, float32."""
        return self.values.to(device).to(torch.float32) * self.scale.to(device)


def spread_levels(count: int, measured: int) -> list[int]:
    """Return the indices of the levels at which errors are measured, the ends among them.

    Args:
        count: Number of levels of the sampler, log-spaced.
        measured: Number of levels to measure; 0 for all.
    """
    measured = min(measured or count, count)
    return torch.linspace(0, count - 1, measured).round().long().unique().tolist()


def denoising_error_bytes(
    levels: int, days: int, features: int, points: int, network_points: int
) -> int:
    """Return the size of the denoising errors of one network of observations, on disk or mapped.

    While a level is in use it is held in single precision too: that adds `2 / levels` of the size.

    Args:
        levels: Noise levels that are measured (`assimilation.guidance.error_levels`, or all).
        days: Archive days (`assimilation.guidance.archive`, if there are as many).
        features: Days of a window times latent channels.
        points: Points of the latent grid.
        network_points: Observed points of all days of a window.
    """
    return 2 * levels * days * (features * points + network_points) + 4 * levels * network_points


class LevelErrors(Sequence[DenoisingErrors]):
    """Denoising errors, one entry per noise level.

    Args:
        levels: `(L,)` noise levels.
        at: Indices of the `A` measured levels, increasing; with fewer than `L` of them the first
            and the last level are measured.
        latent: Errors of each measured level, `(N, T, K, h, w)`.
        observed: The same mapped by `H`, `(N, Q)`.
        factor: `(A, K)` factors on the errors `latent` of each channel.
        device: Device of the computation.
    """

    def __init__(
        self,
        levels: Tensor,
        at: Sequence[int],
        latent: Sequence[HalfTensor],
        observed: Sequence[HalfTensor],
        factor: Tensor,
        device: torch.device,
    ) -> None:
        self._levels = levels.to("cpu", torch.float64)
        self._at = list(at)
        self._latent, self._observed = list(latent), list(observed)
        self._factor = factor
        self._device = device

    def __len__(self) -> int:
        return len(self._levels)

    def __getitem__(self, level: int) -> DenoisingErrors:  # type: ignore[override]
        """Return the errors of a level."""
        level = range(len(self))[level]
        right = next(i for i, measured in enumerate(self._at) if measured >= level)
        if self._at[right] == level:
            return self._measured(right)
        sigmas = [float(self._levels[i]) for i in (self._at[right - 1], self._at[right], level)]
        ends = self._measured(right - 1), self._measured(right)
        latent = _between(ends[0].latent, ends[1].latent, (0, 2), *sigmas)
        observed = _between(ends[0].observed, ends[1].observed, (0,), *sigmas)
        return DenoisingErrors(latent, observed)

    def _measured(self, number: int) -> DenoisingErrors:
        factor = self._factor[number].to(self._device, torch.float32).reshape(-1, 1, 1)
        latent = self._latent[number].full(self._device) * factor
        return DenoisingErrors.centred(latent, self._observed[number].full(self._device))


def _between(
    left: Tensor, right: Tensor, dims: tuple[int, ...], before: float, after: float, sigma: float
) -> Tensor:
    """Interpolate centred errors between noise levels, see the module.

    Args:
        left: Errors at level `before`.
        right: Errors at level `after`.
        dims: Dimensions over which a variance is taken.
        before: A noise level.
        after: Another one.
        sigma: The level between them.
    """
    tiny = torch.finfo(left.dtype).tiny

    def variance(errors: Tensor) -> Tensor:
        return errors.square().mean(dim=dims, keepdim=True).clamp(min=tiny)

    share = math.log(sigma / before) / math.log(after / before)
    mixed = (1 - share) * left * variance(left).rsqrt() + share * right * variance(right).rsqrt()
    u = (sigma**-2 - before**-2) / (after**-2 - before**-2)
    wanted = 1 / ((1 - u) / variance(left) + u / variance(right))
    return mixed * (wanted / variance(mixed)).sqrt()
