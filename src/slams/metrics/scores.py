"""Metrics as functions of mean statistics.

`means` contains the mean over cases of each statistic of `slams.metrics.statistics`; leading axes
(resamples of a bootstrap, channels) are kept. Roots and ratios are taken last, after all means.

    rmse         = sqrt(mse)
    bias         = bias
    crps         = crps
    spread_skill = sqrt((M + 1) / M) sqrt(variance) / rmse       (free members)
                 = sqrt(variance) / rmse                         (centred members)
    rank_chi2    = (M + 1) sum_k (rank_k - 1 / (M + 1))^2
    wasserstein  = d sum_k |cdf_difference_k|              (`slams.metrics.marginals`)

The spread-skill ratio of a calibrated ensemble is 1 for every M: the mean of free members has an
additional error variance of `variance / M` (Fortin et al. 2014), that of centred members has not
(`slams.metrics.centred`).

`rank_chi2` is the chi-square statistic of a flat histogram *per independent sample*: 0 if flat,
M if all samples have one rank. Neighbouring points are not independent, so it is a measure of
flatness, not a test; multiplied by a number of independent samples it is the usual statistic
with M degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from slams.fields import FieldSpec
from slams.metrics.centred import mean_error_share
from slams.metrics.marginals import wasserstein

__all__ = [
    "SCORES",
    "level_groups",
    "level_name",
    "mean_over_levels",
    "places",
    "rank_chi_square",
    "score",
    "spread_skill_ratio",
]

# Metrics in the order of the tables, with the statistics on which each depends.
SCORES: dict[str, tuple[str, ...]] = {
    "rmse": ("mse",),
    "bias": ("bias",),
    "crps": ("crps",),
    "spread_skill": ("variance", "mse"),
    "rank_chi2": ("rank",),
    "wasserstein": ("cdf_difference",),
}


def score(name: str, means: Mapping[str, Tensor], members: int, centred: bool = False) -> Tensor:
    """Evaluate a metric from mean statistics.

    Args:
        name: One of `SCORES`.
        means: The mean of each statistic, `(..., C)`; of `rank`, `(..., C, M + 1)`; of
            `cdf_difference`, `(..., C, K)`.
        members: Number of ensemble members `M`.
        centred: Whether the members are centred on the analysis.

    Returns:
        `(..., C)`.

    Raises:
        KeyError: There is no metric of that name.
    """
    if name == "rmse":
        return means["mse"].sqrt()
    if name == "spread_skill":
        return spread_skill_ratio(means["variance"], means["mse"], members, centred)
    if name == "rank_chi2":
        return rank_chi_square(means["rank"])
    if name == "wasserstein":
        return wasserstein(means["cdf_difference"])
    if name in SCORES:
        return means[SCORES[name][0]]
    raise KeyError(f"metric {name!r} is unknown; expected one of {', '.join(SCORES)}")


def spread_skill_ratio(
    variance: Tensor, mse: Tensor, members: int, centred: bool = False
) -> Tensor:
    """Return the ratio of the error expected from the spread to the error; NaN if both are zero.

    Args:
        variance: `(...)` ensemble variance (ddof = 1).
        mse: `(...)` squared error of the mean.
        members: Number of ensemble members `M`.
        centred: Whether the members are centred on the analysis.
    """
    return (mean_error_share(members, centred) * variance / mse).sqrt()


def rank_chi_square(frequency: Tensor) -> Tensor:
    """Return the deviation of rank frequencies `(..., M + 1)` from flat ones, see the module."""
    ranks = frequency.shape[-1]
    return ranks * (frequency - 1 / ranks).square().sum(dim=-1)


def level_groups(channels: Sequence[FieldSpec]) -> dict[str, list[int]]:
    """Return the channel indices of each variable that has pressure levels."""
    groups: dict[str, list[int]] = {}
    for index, spec in enumerate(channels):
        if spec.level is not None:
            groups.setdefault(spec.variable, []).append(index)
    return groups


def level_name(spec: FieldSpec) -> str:
    """Return the level of a channel as in the tables of results."""
    return "surface" if spec.level is None else str(spec.level)


def places(channels: Sequence[FieldSpec]) -> dict[tuple[str, str], list[int]]:
    """Return the channel indices of each (variable, level) of the tables of results.

    The channels come first, then the `mean` over the levels of each variable that has levels.
    """
    single = {(spec.variable, level_name(spec)): [i] for i, spec in enumerate(channels)}
    means = {(variable, "mean"): index for variable, index in level_groups(channels).items()}
    return {**single, **means}


def mean_over_levels(values: Tensor, index: Sequence[int]) -> Tensor:
    """Average a metric over levels with equal weights, without levels that have no truth.

    The RMSE `mean` over levels is therefore the mean of the levels' RMSE, not the root of their
    mean squared error.

    Args:
        values: `(..., C)` values of a metric.
        index: The channels of one variable.

    Returns:
        `(...)`, NaN where no level has a value.
    """
    return torch.nanmean(values[..., list(index)], dim=-1)
