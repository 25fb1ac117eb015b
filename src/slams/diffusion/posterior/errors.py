"""Denoising errors of training days, from which the covariance of `z` given `z_t` is estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from slams.linalg.gain import Gain

__all__ = ["DenoisingErrors", "ErrorCovariance"]


@dataclass(frozen=True)
class DenoisingErrors:
    """Centred denoising errors of training days at one noise level.

    Attributes:
        latent: `(N, F, S)` errors in latent space, `F` features (days x latent channels) at `S`
            horizontal points.
        observed: `(N, Q)` errors of the same days mapped by `H`, at all points of the network.
    """

    latent: Tensor
    observed: Tensor

    @classmethod
    def centred(cls, latent: Tensor, observed: Tensor) -> DenoisingErrors:
        """Remove the mean over the days.

        Args:
            latent: `(N, T, K, h, w)`.
            observed: `(N, Q)`.
        """
        n, days, channels = latent.shape[:3]
        flat = latent.reshape(n, days * channels, -1)
        return cls(flat - flat.mean(dim=0), observed - observed.mean(dim=0))

    def weighted(self, weights: Tensor) -> DenoisingErrors:
        """Weight the days.

        Products summed over days and divided by `N - 1` are then the unbiased weighted covariance.

        Args:
            weights: `(N,)` not negative, more than one of them above zero.
        """
        share = weights / weights.sum()
        scale = (share * (len(share) - 1) / (1 - share.square().sum())).sqrt()
        parts = []
        for values in (self.latent, self.observed):
            flat = values.flatten(1)
            mean = share.to(flat) @ flat
            parts.append(((flat - mean) * scale.to(flat)[:, None]).reshape(values.shape))
        return DenoisingErrors(*parts)


@dataclass(frozen=True)
class ErrorCovariance:
    """Errors, localisation and weights from which the covariances of a case are computed.

    Attributes:
        levels: `(L,)` noise levels of the errors.
        errors: One entry per level.
        columns: `(P,)` indices of the points, of the network's `Q`, that the case observes.
        gain: The gain of the case's observations on the latent grid.
        weights: `(N,)` weight of each day; `None` for equal weights.
    """

    levels: Tensor
    errors: Sequence[DenoisingErrors]
    columns: Tensor
    gain: Gain
    weights: Tensor | None = None

    def nearest(self, sigma_t: Tensor) -> DenoisingErrors:
        """Return the errors of the level that is nearest to a noise level `()`."""
        away = (self.levels.log() - sigma_t.log().to(self.levels)).abs()
        return self.errors[int(away.argmin())]
