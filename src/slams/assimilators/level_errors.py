r"""Denoising errors of all noise levels of a sampler, held in half precision.

Errors are used for covariances only, for which 11 bits are enough. Each latent channel and each
observed point has a scale, so that units do not matter; one level at a time is converted to single
precision, when it is asked for.

Errors need not be measured at every level. Between two measured levels some of the days have the
errors of one level and the others those of the other, in proportion to the distances in
log sigma, so that the covariance is the weighted mean of both. (A weighted mean of the errors
would shrink what is unrelated, such as the noise, against what is common, such as the truth.)
Each feature, and each observed point, is scaled before by the standard deviation of the level, and
after to that of the level between. A Gaussian of variance `s^2` and its exact denoiser have errors
of variance `1 / (1 / sigma^2 + 1 / s^2)`. In any units, and with the error of the decoder, which
is the same at all levels,

    V = c + R / (1 / (a sigma^2) + 1 / (V_0 - c)),    log R linear in log sigma,

where `V_0` is the variance at the highest level, that of the prior, and `c + a sigma^2` the line
through the variances at the two lowest measured levels. For a Gaussian of one size `R = 1`, so
that the variance is exact; for modes of many sizes `R` varies slowly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from slams.diffusion.posterior.errors import DenoisingErrors

__all__ = ["HalfTensor", "LevelErrors", "spread_levels"]

# Dimensions of errors over which a variance is taken.
_DIMS = {"latent": (0, 2), "observed": (0,)}
# Largest share of the variance at the lowest level that is taken to be the same at all levels.
_MOST_CONSTANT = 0.98
_TINY = 1e-30
_GOLDEN = (5**0.5 - 1) / 2


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

    def full(self, device: torch.device, factor: Tensor | float = 1.0) -> Tensor:
        """Return the tensor times a factor, which broadcasts with the scale, float32."""
        # Half times single precision is single precision: one pass over a large tensor.
        return self.values.to(device) * (self.scale.to(device) * factor)

    def of_days(self, days: Tensor) -> HalfTensor:
        """Return the tensor of some days, `(N,)` bool."""
        return HalfTensor(self.values[days.to(self.values.device)], self.scale)


def spread_levels(count: int, measured: int) -> list[int]:
    """Return the indices of the levels at which errors are measured, the ends among them.

    Args:
        count: Number of levels of the sampler, log-spaced.
        measured: Number of levels to measure; 0 for all.
    """
    measured = min(measured or count, count)
    return torch.linspace(0, count - 1, measured).round().long().unique().tolist()


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
        left, sigma = right - 1, float(self._levels[level])
        share = math.log(sigma / self._sigma(left)) / math.log(
            self._sigma(right) / self._sigma(left)
        )
        # Spread over the year: consecutive days are apart by the golden ratio.
        place = torch.arange(len(self._latent[0].values), device=self._device) * _GOLDEN % 1
        later = place < share
        parts = []
        for name, dims in _DIMS.items():
            known = [one[name] for one in self._variances]
            mixed = None
            for number, days in ((left, ~later), (right, later)):
                own = self._full(number, name, days)
                own -= own.mean(dim=0)
                own *= known[number].rsqrt()
                if mixed is None:
                    mixed = own.new_empty(len(days), *own.shape[1:])
                mixed[days] = own
            wanted = self._variance(known, left, share, sigma)
            mixed *= (wanted / _variance(mixed, dims)).sqrt()
            parts.append(mixed)
        return DenoisingErrors(*parts)

    def _sigma(self, number: int) -> float:
        return float(self._levels[self._at[number]])

    def _measured(self, number: int) -> DenoisingErrors:
        parts = []
        for name in _DIMS:
            part = self._full(number, name)
            part -= part.mean(dim=0)
            parts.append(part)
        return DenoisingErrors(*parts)

    def _full(self, number: int, name: str, days: Tensor | None = None) -> Tensor:
        """Return errors of a measured level of all or some days, `(n, F, S)` or `(n, Q)`."""
        kept = self._latent[number] if name == "latent" else self._observed[number]
        if days is not None:
            kept = kept.of_days(days)
        if name == "observed":
            return kept.full(self._device)
        factor = self._factor[number].to(self._device, torch.float32).reshape(-1, 1, 1)
        errors = kept.full(self._device, factor)
        return errors.flatten(1, 2).flatten(2)

    @cached_property
    def _variances(self) -> list[dict[str, Tensor]]:
        """Return the variances of each measured level."""
        return [
            {name: _variance(getattr(errors, name), dims) for name, dims in _DIMS.items()}
            for errors in map(self._measured, range(len(self._at)))
        ]

    def _variance(self, known: list[Tensor], left: int, share: float, sigma: float) -> Tensor:
        """Interpolate variances, see the module.

        Args:
            known: Variances of each measured level.
            left: The measured level before.
            share: Share of the next one, from 0 to 1.
            sigma: The noise level.
        """
        first, high, low = (self._sigma(number) ** 2 for number in (0, -2, -1))
        rest = (known[-1] * high - known[-2] * low) / (high - low)
        rest = torch.minimum(rest.clamp(min=0.0), _MOST_CONSTANT * known[-1])
        prior = torch.maximum(known[0] - rest, (1 - _MOST_CONSTANT) * known[0])
        slope = torch.maximum((known[-2] - known[-1]) / (high - low), prior / first)

        def gaussian(at: float) -> Tensor:
            return 1 / (1 / (slope * at**2) + 1 / prior)

        def ratio(number: int) -> Tensor:
            least = (1 - _MOST_CONSTANT) * known[number]
            return torch.maximum(known[number] - rest, least) / gaussian(self._sigma(number))

        both = torch.lerp(ratio(left).log(), ratio(left + 1).log(), share)
        return rest + both.exp() * gaussian(sigma)


def _variance(errors: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the variance of centred errors, more than 0, over some dimensions."""
    count = math.prod(errors.shape[dim] for dim in dims)
    # Without a temporary of the size of the errors.
    norm = torch.linalg.vector_norm(errors, dim=dims, keepdim=True)
    return (norm.square() / count).clamp(min=_TINY)
