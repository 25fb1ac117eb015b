"""Metrics as torchmetrics objects whose states are sums, exact over batches and ranks.

Every state is a float64 sum over cases (or their number) and is summed over ranks; `compute` is a
function of the means. The result therefore does not depend on how the cases are split
over batches and ranks, even if a rank has no case.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from slams.metrics.scores import SCORES, score
from slams.metrics.statistics import CaseStatistics

__all__ = ["ChannelError", "MeanStatistics"]


class MeanStatistics(Metric):
    """Means of the statistics of cases, and the metrics that are functions of them.

    Args:
        channels: Number of channels `C`.
        members: Number of ensemble members `M`.
        kwargs: Options of `torchmetrics.Metric`.
    """

    full_state_update = False
    cases: Tensor
    # Number of ensembles that are not centred: if there is one, on any rank, all count as free.
    free: Tensor

    def __init__(self, channels: int, members: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members = members
        needed = dict.fromkeys(name for names in SCORES.values() for name in names)
        shapes = {name: CaseStatistics.shapes(members)[name] for name in needed}
        self.statistics = tuple(shapes)
        states = {f"sum_{name}": (channels, *shape) for name, shape in shapes.items()}
        for name, shape in {**states, "cases": (channels,), "free": ()}.items():
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, zeros, dist_reduce_fx="sum", persistent=True)

    def update(self, statistics: CaseStatistics) -> None:
        """Add the cases of a batch, without channels that have no truth."""
        self.cases += statistics.valid.sum(dim=0)
        self.free += 0 if statistics.centred else len(statistics.case)
        for name in self.statistics:
            total = getattr(self, f"sum_{name}")
            total += torch.nansum(getattr(statistics, name), dim=0)

    def means(self) -> dict[str, Tensor]:
        """Return the mean over cases of each statistic, NaN for channels without a case."""
        found = {}
        for name in self.statistics:
            total = getattr(self, f"sum_{name}")
            found[name] = total / self.cases.reshape(-1, *[1] * (total.ndim - 1))
        return found

    def compute(self) -> dict[str, Tensor]:
        """Return each metric of `slams.metrics.scores`, `(C,)` float64."""
        means, centred = self.means(), bool(self.free == 0)
        return {name: score(name, means, self.members, centred) for name in SCORES}


class ChannelError(Metric):
    """Area-weighted root-mean-square error of each channel of a reconstruction.

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
