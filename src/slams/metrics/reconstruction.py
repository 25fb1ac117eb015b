"""The error of a reconstruction per channel, over known values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["ChannelError"]


class ChannelError(Metric):
    """Area-weighted root-mean-square error of each channel.

    The states are sums, so that the result depends neither on batches nor on ranks.

    Args:
        channels: Number of channels `C`.
        kwargs: Options of `torchmetrics.Metric`.
    """

    full_state_update = False
    squares: Tensor
    area: Tensor

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zeros = torch.zeros(channels, dtype=torch.float64)
        self.add_state("squares", zeros, dist_reduce_fx="sum")
        self.add_state("area", zeros.clone(), dist_reduce_fx="sum")

    def update(self, error: Tensor, known: Tensor, weights: Tensor) -> None:
        """Add fields.

        Args:
            error: `(B, C, H, W)`, with any value where the truth is not known.
            known: `(B, C, H, W)` bool.
            weights: `(H,)` area weights.
        """
        area = known.double() * weights.double()[:, None]
        square = torch.where(known, error.double(), 0.0).square()
        self.squares += (square * area).sum(dim=(0, 2, 3))
        self.area += area.sum(dim=(0, 2, 3))

    def compute(self) -> Tensor:
        """Return the error of each channel `(C,)`, NaN for a channel that was never known."""
        return (self.squares / self.area).sqrt()
