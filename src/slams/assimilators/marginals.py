r"""Quantile mapping of decoded precipitation to the distribution of the fields.

A decoder trained on squared errors returns a mean: drizzle where some days are dry, and too little
rain where it is heavy. With `F_dec` and `F` the distribution functions of a channel over archive
days and all grid points, encoded and decoded or unchanged,

    v -> F^-1(F_dec(v))

has the fraction of dry points and the tail of the fields. It is monotone, so that it moves no rain
from one place to another. Values above the archive's largest are shifted by the same amount as it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MarginalMap"]

# Largest number of values from which a distribution is estimated, and number of its quantiles.
_VALUES = 500_000
_QUANTILES = 2001


@dataclass(frozen=True)
class MarginalMap:
    """Quantile map of one channel's values, in channel units.

    Attributes:
        source: `(Q,)` quantiles of the decoded archive.
        target: `(Q,)` quantiles of the archive.
    """

    source: Tensor
    target: Tensor

    @classmethod
    def fit(cls, decoded: Tensor, fields: Tensor) -> MarginalMap:
        """Estimate both distributions.

        Args:
            decoded: `(N, ...)` the archive's days, encoded and decoded.
            fields: `(N, ...)` the same days.
        """
        stride = -(-fields.numel() // _VALUES)
        levels = torch.linspace(0, 1, _QUANTILES, dtype=fields.dtype, device=fields.device)
        both = (torch.quantile(x.flatten()[::stride], levels) for x in (decoded, fields))
        return cls(*both)

    def __call__(self, values: Tensor) -> Tensor:
        """Map `(...)` values."""
        upper = torch.searchsorted(self.source, values.contiguous())
        upper = upper.clamp(1, len(self.source) - 1)
        low, high = self.source[upper - 1], self.source[upper]
        share = (values - low) / (high - low).clamp(min=torch.finfo(values.dtype).tiny)
        mapped = torch.lerp(self.target[upper - 1], self.target[upper], share.clamp(0, 1))
        beyond = (values - self.source[-1]).clamp(min=0)
        return mapped + beyond
