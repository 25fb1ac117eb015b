r"""Marginal distributions of members and truth, as differences of their distribution functions.

With `F` the distribution function of the members' values (all members, points and cases together,
weighted by area) and `G` that of the truth, their one-dimensional Wasserstein distance is

    W1 = \int |F(s) - G(s)| ds = d sum_k |F(s_k) - G(s_k)|,    s_k = -8, -8 + d, ..., 8

where the second form is exact for values rounded up to the nodes `s_k`. Rounding changes the
distance between any two values by less than `d`, and therefore W1 by less than `d` = 0.02; for
smooth distributions the error is much smaller. Values beyond 8 count as 8.

The values are standardised as in SLAMS (Qu et al. 2024, arXiv 2404.06665), by one mean and one
standard deviation per channel: those of the training period over the whole globe, including the
variability between places and seasons. A case contributes `F - G` at the nodes; the means over
cases determine W1 of all cases together exactly, for any split of the cases. (Unlike there, points
are weighted by area.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.normalisation import Normaliser

__all__ = ["NODES", "SPACING", "Marginals", "wasserstein"]

SPACING = 0.02
_LIMIT = 8.0
NODES = round(2 * _LIMIT / SPACING) + 1


@dataclass(frozen=True)
class Marginals:
    """Standardisation of values and comparison of their distributions.

    Attributes:
        mean: `(C,)` mean of each channel over globe, seasons and training years, channel units.
        sd: `(C,)` standard deviation of each channel about it, channel units.
    """

    mean: Tensor
    sd: Tensor

    @classmethod
    def of(cls, normaliser: Normaliser, weights: Tensor) -> Marginals:
        """Compute the training period's mean and standard deviation from its statistics.

        Args:
            normaliser: The climatology (harmonics) and the standard deviations about it.
            weights: `(H,)` cell areas with mean 1.
        """
        area = weights.double()[:, None]
        harmonics, sd = normaliser.harmonics.double(), normaliser.sd.double()
        mean = (harmonics[0] * area).mean(dim=(-2, -1))
        # The mean square of a sine over whole years is one half.
        season = harmonics[1:].square().sum(dim=0) / 2
        geography = (harmonics[0] - mean[:, None, None]).square()
        variance = ((sd.square() + season + geography) * area).mean(dim=(-2, -1))
        return cls(mean, variance.sqrt())

    def select(self, index: Sequence[int]) -> Marginals:
        """Return some channels, in the order given."""
        return Marginals(self.mean[list(index)], self.sd[list(index)])

    def to(self, device: torch.device | str) -> Marginals:
        """Move the tensors to a device."""
        return Marginals(self.mean.to(device), self.sd.to(device))

    def difference(self, members: Tensor, truth: Tensor, weight: Tensor, channel: int) -> Tensor:
        """Return the members' distribution function minus the truth's at the nodes.

        Args:
            members: `(M, T, H, W)` channel units.
            truth: `(T, H, W)` channel units.
            weight: `(T, H, W)` cell areas, zero where the truth is missing.
            channel: Index of the channel.

        Returns:
            `(K,)` float64.
        """
        share = (weight / weight.sum()).double()
        shares = (share.expand_as(members) / members.shape[0]).reshape(-1)
        histogram = self._histogram(members, shares, channel)
        histogram -= self._histogram(truth, share.reshape(-1), channel)
        return histogram.cumsum(dim=0)

    def _histogram(self, values: Tensor, share: Tensor, channel: int) -> Tensor:
        score = (values.double().reshape(-1) - self.mean[channel]) / self.sd[channel]
        node = torch.ceil((score + _LIMIT) / SPACING).clamp(0, NODES - 1)
        # Missing values have no weight, but must have an index.
        node = torch.where(share > 0, node, 0.0).long()
        return torch.bincount(node, share, minlength=NODES)


def wasserstein(difference: Tensor) -> Tensor:
    """Integrate the difference of two distribution functions `(..., K)` to W1 `(...)`."""
    return SPACING * difference.abs().sum(dim=-1)
