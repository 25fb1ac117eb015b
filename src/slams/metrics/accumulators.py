"""Metrics as torchmetrics objects whose states are sums, exact over batches and ranks.

Every state is a float64 sum over cases (or the number of them) and is summed over ranks;
`compute` is a function of the mean statistics. So the result depends neither on how the cases
were split over batches and ranks, nor on a rank having none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from slams.metrics.innovations import InnovationSums
from slams.metrics.scores import SCORES, score
from slams.metrics.statistics import CaseStatistics

__all__ = ["RMSE", "Bias", "FairCRPS", "Innovation", "RankHistogram", "SpreadSkill"]


class _MeanStatistics(Metric):
    """Sums the statistics that one metric needs; subclasses name the metric.

    Args:
        channels: Number of channels `C`.
        members: Number of ensemble members `M`.
        kwargs: Settings of torchmetrics.
    """

    metric: str
    full_state_update = False

    def __init__(self, channels: int, members: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members = members
        self.statistics = SCORES[self.metric]
        for name in self.statistics:
            shape = (channels, members + 1) if name == "rank" else (channels,)
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(f"sum_{name}", zeros, dist_reduce_fx="sum")
        self.add_state("cases", torch.zeros(channels, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, statistics: CaseStatistics) -> None:
        """Adds the cases of a batch; channels without truth are left out."""
        self.cases += statistics.valid.sum(dim=0)
        for name in self.statistics:
            total = getattr(self, f"sum_{name}")
            total += torch.nansum(getattr(statistics, name), dim=0)

    def means(self) -> dict[str, Tensor]:
        """Gives the mean over cases of each statistic, NaN for channels without a case."""
        found = {}
        for name in self.statistics:
            total = getattr(self, f"sum_{name}")
            found[name] = total / self.cases.reshape(-1, *[1] * (total.ndim - 1))
        return found

    def compute(self) -> Tensor:
        """Gives the metric of each channel, `(C,)` float64."""
        return score(self.metric, self.means(), self.members)


class RMSE(_MeanStatistics):
    """Root mean square error of the ensemble mean, physical units."""

    metric = "rmse"


class Bias(_MeanStatistics):
    """Mean error of the ensemble mean, physical units."""

    metric = "bias"


class FairCRPS(_MeanStatistics):
    """Fair continuous ranked probability score, physical units."""

    metric = "crps"


class SpreadSkill(_MeanStatistics):
    """Spread-skill ratio with its factor sqrt((M + 1) / M); 1 for a calibrated ensemble."""

    metric = "spread_skill"


class RankHistogram(_MeanStatistics):
    """Frequencies of the truth's rank among the members."""

    metric = "rank_chi2"

    def compute(self) -> Tensor:
        """Gives the frequencies of each channel, `(C, M + 1)` float64, sum 1."""
        return self.means()["rank"]


class Innovation(Metric):
    """Mean, standard deviation, count and chi-square of departures y - H(x)."""

    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zeros = torch.zeros(4, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, departure: Tensor, mask: Tensor, variance: Tensor) -> None:
        """Adds departures, see `InnovationSums.of`."""
        self.sums += InnovationSums.of(departure, mask, variance).as_tensor(self.sums.device)

    def compute(self) -> Tensor:
        """Gives mean, standard deviation, count and chi-square, `(4,)` float64."""
        sums = InnovationSums.from_tensor(self.sums)
        results = (sums.mean, sums.sd, sums.n, sums.chi2)
        return torch.tensor(results, dtype=torch.float64, device=self.sums.device)
