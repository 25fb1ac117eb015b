"""Statistics in observation space: what the observations say of background and analysis.

With departures `d = y - H(x)` of the observations that were assimilated,

    mean = sum d / n,    sd^2 = (sum d^2 - n mean^2) / (n - 1),    chi2 = sum d^2 / v / n

where `v` is the variance that `d` should have: `R + H B H^T` for O-B. `chi2` is 1 when both
error statistics are right (Menard and Chang 2000), above 1 when they are too small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["InnovationSums"]


@dataclass(frozen=True)
class InnovationSums:
    """Holds sums over departures; they add up over cases, batches and ranks.

    Attributes:
        n: Number of departures.
        total: Their sum, in the observation's units.
        squares: The sum of their squares.
        normalised: The sum of their squares over their expected variances.
    """

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    normalised: float = 0.0

    @classmethod
    def of(cls, departure: Tensor, mask: Tensor, variance: Tensor) -> InnovationSums:
        """Sums departures.

        Args:
            departure: `(...)` y - H(x); not read where the mask is False.
            mask: `(...)` bool, True where observed and assimilated.
            variance: `(...)` expected variance of the departure.
        """
        d = departure[mask].to(torch.float64)
        v = variance[mask].to(torch.float64)
        return cls(
            n=float(d.numel()),
            total=float(d.sum()),
            squares=float(d.square().sum()),
            normalised=float((d.square() / v).sum()),
        )

    def __add__(self, other: InnovationSums) -> InnovationSums:
        return InnovationSums(
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            self.normalised + other.normalised,
        )

    @property
    def mean(self) -> float:
        """Gives the mean departure; NaN without observations."""
        return self.total / self.n if self.n else math.nan

    @property
    def sd(self) -> float:
        """Gives the standard deviation of the departures; NaN with fewer than two."""
        if self.n < 2:
            return math.nan
        return math.sqrt(max(self.squares - self.n * self.mean**2, 0.0) / (self.n - 1))

    @property
    def chi2(self) -> float:
        """Gives the mean of d^2 / v; NaN without observations."""
        return self.normalised / self.n if self.n else math.nan

    def as_tensor(self, device: torch.device | str = "cpu") -> Tensor:
        """Gives n, total, squares, normalised as `(4,)` float64."""
        sums = (self.n, self.total, self.squares, self.normalised)
        return torch.tensor(sums, dtype=torch.float64, device=device)

    @classmethod
    def from_tensor(cls, sums: Tensor) -> InnovationSums:
        """Reads what `as_tensor` gave."""
        return cls(*sums.tolist())
