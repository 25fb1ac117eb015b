"""The gain of an ensemble covariance, solved in the space of the archive's days.

With the notation of `slams.linalg.gain`, and with the localisation `L` of the distances between a
domain's centre and the observations,

    w = [(n - 1) I + Y (L / R) Y^T]^-1 Y (L / R) innovation,        increment of field k = Z_k^T w

(the weights of the mean of the LETKF: Hunt, Kostelich and Szunyogh 2007, Physica D 230, 112-126).
A domain solves a system of `n` unknowns, however many observations there are, and an increment
takes `n` multiplications per point, however many observations there are.

Without localisation this is the same as `slams.linalg.gain`. With it, the two are different
estimators: there the covariance of each point with each observation is tapered, which removes
sampling noise within a domain too; here the error of an observation is enlarged by its distance
from the centre, all points of a domain have the same weights, and the increment is a sum of the
archive's days.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slams.grid import great_circle
from slams.linalg.gain import Gain
from slams.linalg.localisation import gaspari_cohn
from slams.linalg.solution import factorise
from slams.linalg.whitening import positive_variance

__all__ = ["ArchiveGain"]

# Least error variance of an observation, as a share of its predicted variance: the system of the
# days cannot fit an observation exactly.
_EXACT = 1e-8


class ArchiveGain(Gain):
    """Gains as `Gain`, solved in the space of the archive; no observation may be silent."""

    def solve(self, images: Tensor, variance: Tensor, innovations: Tensor) -> Tensor:
        """Solve for the weights of the archive's days, see `Gain.solve`.

        Returns:
            `(D, n, J)` float64.
        """
        weights, images = [], images.T.contiguous()
        predicted = images.to(torch.float64).square().mean(dim=1)
        variance = torch.maximum(variance.to(torch.float64), _EXACT * predicted)
        variance = positive_variance(variance)
        for some in self._pieces(max(self.index.shape[1], images.shape[1])):
            observed = self._of(images, some).to(torch.float64)  # (b, p, n)
            precision = 1 / variance[self.index[some]]
            if math.isfinite(self.half_width_km):
                there = self._there[self.index[some]]
                away = great_circle(self.domains.centres[some, None], there)[:, 0]
                precision = precision * gaspari_cohn(away, self.half_width_km)
            weighted = (precision[..., None] * observed).mT
            system = weighted @ observed
            system.diagonal(dim1=-2, dim2=-1).add_(images.shape[1] - 1)
            departure = self._of(innovations.T, some).to(torch.float64)
            weights.append(torch.cholesky_solve(weighted @ departure, factorise(system)))
        return torch.cat(weights)

    def increments(self, anomalies: Tensor, images: Tensor, weights: Tensor) -> Tensor:
        """Compute the increments of the state, see `Gain.increments`."""
        n, fields, _ = anomalies.shape
        weights = weights.to(anomalies)

        def found(local: Tensor, points: Tensor, some: Tensor) -> Tensor:
            return local.flatten(1, 2) @ weights[some]

        return self._blended(anomalies, weights.shape[2], fields * n, found)

    def inner(self, left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> float:
        """Return the scalar product of two increments, see `Gain.inner`.

        Domains count by the share of the points that they have.
        """
        days = left[0].shape[0] - 1
        product = days * (left[1] * right[1]).sum(dim=(1, 2))
        share = self.domains.shares.sum(dim=1).to(product) / len(self._here)
        return float(self.partners.total((product * share).sum()))
