"""Metrics as torchmetrics objects whose states are sums, exact over batches and ranks.

Every state is a float64 sum over cases (or their number) and is summed over ranks; `compute` is a
function of the mean statistics. The result therefore does not depend on how the cases are split
over batches and ranks, even if a rank has no case.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from slams.metrics.scores import SCORES, score
from slams.metrics.statistics import CaseStatistics

__all__ = ["RMSE", "Bias", "FairCRPS", "RankHistogram", "SpreadSkill", "Wasserstein"]


class _MeanStatistics(Metric):
    """Base class: sums of the statistics that one metric needs; subclasses name the metric.

    Args:
        channels: Number of channels `C`.
        members: Number of ensemble members `M`.
        kwargs: Options of `torchmetrics.Metric`.
    """

    metric: str
    full_state_update = False

    def __init__(self, channels: int, members: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members = members
        self.statistics = SCORES[self.metric]
        for name in self.statistics:
            shape = CaseStatistics.shapes(members)[name]
            zeros = torch.zeros(channels, *shape, dtype=torch.float64)
            self.add_state(f"sum_{name}", zeros, dist_reduce_fx="sum", persistent=True)
        self.add_state(
            "cases",
            torch.zeros(channels, dtype=torch.float64),
            dist_reduce_fx="sum",
            persistent=True,
        )
        # Number of ensembles that are not centred: if there is one, on any rank, all count as
        # free.
        self.add_state(
            "free", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum", persistent=True
        )

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

    def compute(self) -> Tensor:
        """Return the metric of each channel, `(C,)` float64."""
        return score(self.metric, self.means(), self.members, bool(self.free == 0))


class RMSE(_MeanStatistics):
    """Root mean square error of the ensemble mean, in physical units."""

    metric = "rmse"


class Bias(_MeanStatistics):
    """Mean error of the ensemble mean, in physical units."""

    metric = "bias"


class FairCRPS(_MeanStatistics):
    """Fair continuous ranked probability score, in physical units."""

    metric = "crps"


class SpreadSkill(_MeanStatistics):
    """Spread-skill ratio with its factor sqrt((M + 1) / M); 1 for a calibrated ensemble."""

    metric = "spread_skill"


class RankHistogram(_MeanStatistics):
    """Frequencies of the rank of the truth among the members."""

    metric = "rank_chi2"

    def compute(self) -> Tensor:
        """Return the frequencies of each channel, `(C, M + 1)` float64, sum 1."""
        return self.means()["rank"]


class Wasserstein(_MeanStatistics):
    """One-dimensional Wasserstein distance of the marginals, in standard deviations."""

    metric = "wasserstein"
