r"""Per-case statistics of an ensemble against the truth, which may be averaged.

With truth `y`, members `x_1 .. x_M`, their mean `m`, and `<.>` the area-weighted mean over the
points of a case whose truth is known,

    mse      = < (m - y)^2 >
    bias     = < m - y >
    variance = < sum_i (x_i - m)^2 / (M - 1) >
    crps     = < sum_i |x_i - y| / M - sum_{i<j} |x_i - x_j| / (M (M - 1)) >
    rank_k   = < 1 if k members lie below the truth >,   k = 0 .. M

and, at the nodes of `slams.metrics.marginals`, the distribution function of the members minus that
of the truth. The first four are also computed over the regions of `slams.metrics.regions`.

Every statistic is the mean over points of one case (a window), in float64. Metrics are functions
of their means over cases (`slams.metrics.scores`); a root is never averaged. Because cases may be
averaged in any order and grouping, batches and ranks do not affect a result.

The CRPS is the fair estimator (Ferro 2014), whose expectation does not depend on `M`; the sum
over pairs is computed from the sorted members in O(M log M).

These formulas are for free members. For a centred ensemble the first sum of the CRPS, the rank and
the distribution function use the members as adjusted by `slams.metrics.centred`; the sum over
pairs, the variance and the mean need no adjustment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.metrics.centred import with_free_ranks, with_free_scatter
from slams.metrics.marginals import NODES, Marginals
from slams.metrics.regions import REGIONS
from slams.normalisation import TRANSFORMS
from slams.runtime.seeds import generator

__all__ = [
    "REGIONAL",
    "STATISTICS",
    "CaseStatistics",
    "area_mean",
    "case_statistics",
    "fair_crps",
    "rank_of_truth",
]

# The scalar statistics, in the order of the tables.
STATISTICS = ("mse", "bias", "crps", "variance")

# Their names in the regional statistics.
REGIONAL = {name: f"regional_{name}" for name in STATISTICS}

# Values closer than this times (1 + |y|) count as equal: normalising float32 fields and inverting
# it changes them by a few units in the last place, and two dry days must be tied.
_TIE = 4e-6


@dataclass(frozen=True)
class CaseStatistics:
    """Statistics of `B` cases, float64, NaN where the truth of a channel is missing.

    Attributes:
        case: `(B,)` int64, the cases.
        members: Number of ensemble members `M`.
        mse: `(B, C)` squared error of the ensemble mean, physical units squared.
        bias: `(B, C)` ensemble mean minus truth, physical units.
        crps: `(B, C)` fair continuous ranked probability score, physical units.
        variance: `(B, C)` ensemble variance (ddof = 1), physical units squared.
        rank: `(B, C, M + 1)` fraction of the area where 0 .. M members are below the truth.
        cdf_difference: `(B, C, K)` distribution function of the members minus that of the truth
            at the nodes of `slams.metrics.marginals`.
        regional_mse: `(B, C, R)` as `mse`, in the regions of `slams.metrics.regions`.
        regional_bias: `(B, C, R)`.
        regional_crps: `(B, C, R)`.
        regional_variance: `(B, C, R)`.
        centred: Whether the members are centred on the analysis, and were scored as such.
    """

    case: Tensor
    members: int
    mse: Tensor
    bias: Tensor
    crps: Tensor
    variance: Tensor
    rank: Tensor
    cdf_difference: Tensor
    regional_mse: Tensor
    regional_bias: Tensor
    regional_crps: Tensor
    regional_variance: Tensor
    centred: bool = False

    @staticmethod
    def shapes(members: int) -> dict[str, tuple[int, ...]]:
        """Return the shape after the axes of cases and channels, by name of the statistic."""
        return {
            **dict.fromkeys(STATISTICS, ()),
            "rank": (members + 1,),
            "cdf_difference": (NODES,),
            **dict.fromkeys(REGIONAL.values(), (len(REGIONS),)),
        }

    @property
    def valid(self) -> Tensor:
        """Return whether each channel of each case has a truth, `(B, C)` bool."""
        return self.mse.isfinite()


def area_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Average over the last three axes.

    Args:
        values: `(..., T, H, W)`; not read where the weight is zero.
        weight: `(T, H, W)` float64 cell areas, zero where the truth is missing.

    Returns:
        `(...)` float64, NaN where no point has a weight.
    """
    weight = weight.to(torch.float64)
    known = torch.where(weight > 0, values.to(torch.float64), 0.0)
    return (known * weight).sum(dim=(-3, -2, -1)) / weight.sum()


def fair_crps(members: Tensor, truth: Tensor, single: Tensor | None = None) -> Tensor:
    """Compute the fair CRPS estimator (Ferro 2014) at each point.

    Args:
        members: `(M, ...)`.
        truth: `(...)`.
        single: `(M, ...)` members to compare with the truth one by one, for a centred ensemble
            those of `slams.metrics.centred.with_free_scatter`; by default the members.

    Returns:
        `(...)` in the units of the arguments; it may be negative, but its expectation is not.

    Raises:
        UserError: There are fewer than two members.
    """
    count = members.shape[0]
    _check_members(count)
    # sum_{i<j} |x_i - x_j| = sum_i (2 i - M - 1) x_(i) over the sorted members, i = 1 .. M.
    ordered = (members - truth).sort(dim=0).values
    factor = torch.arange(1 - count, count, 2, dtype=members.dtype, device=members.device)
    pairs = torch.tensordot(factor, ordered, dims=1)
    distance = ordered if single is None else single - truth
    return distance.abs().mean(dim=0) - pairs / (count * (count - 1))


def rank_of_truth(
    members: Tensor, truth: Tensor, draw: Tensor, compared: Tensor | None = None
) -> Tensor:
    """Count the members below the truth; ties are broken at random.

    If the truth equals `k` members (dry days, on which precipitation is zero), each of the `k + 1`
    possible ranks has the same probability, so that the histogram of a perfect ensemble is flat.

    Args:
        members: `(M, ...)`.
        truth: `(...)`.
        draw: `(...)` uniform in [0, 1), breaks the ties.
        compared: `(M, ...)` members among which the truth is ranked where there is no tie, for a
            centred ensemble those of `slams.metrics.centred.with_free_ranks`; by default the
            members.

    Returns:
        `(...)` int64 in 0 .. M.
    """
    tolerance = _TIE * (1 + truth.abs())
    tied = (members - truth).abs() <= tolerance
    below = ((members if compared is None else compared) < truth).logical_and(~tied).sum(dim=0)
    ties = tied.sum(dim=0)
    return below + (draw * (ties + 1)).long().clamp(max=ties)


def case_statistics(
    members: Tensor,
    truth: Tensor,
    mask: Tensor,
    weights: Tensor,
    case: Tensor,
    channels: Sequence[FieldSpec],
    seed: int,
    regions: Tensor | None = None,
    marginals: Marginals | None = None,
    centred: bool = False,
) -> CaseStatistics:
    """Compute the statistics of a batch, case by case and channel by channel.

    Args:
        members: `(B, M, T, C, H, W)` physical.
        truth: `(B, T, C, H, W)` physical.
        mask: `(B, T, C, H, W)` bool, True where the truth is known.
        weights: `(H,)` cell areas.
        case: `(B,)` int64; seeds the ties of the ranks.
        channels: The `C` channels.
        seed: The experiment's seed.
        regions: `(R, H, W)` bool, the cells of each region; `None` for no regional statistics.
        marginals: Comparison of the marginal distributions; `None` to omit it.
        centred: Whether the members are centred on the analysis, see `slams.fields.Ensemble`.

    Raises:
        UserError: There are fewer than two members, or a member is not finite where the truth is
            known.
    """
    batch, count = members.shape[:2]
    _check_members(count)
    number = len(channels)
    device = members.device
    found = {
        name: torch.full((batch, number, *shape), torch.nan, dtype=torch.float64, device=device)
        for name, shape in CaseStatistics.shapes(count).items()
    }
    area = weights.to(device, torch.float64).reshape(1, -1, 1)
    # One channel of one case at a time, because float64 copies of a whole batch need much memory.
    for b in range(batch):
        for c, spec in enumerate(channels):
            known = mask[b, :, c]
            if not bool(known.any()):
                continue
            weight = area * known
            x = members[b, :, :, c].to(torch.float64)
            y = truth[b, :, c].to(torch.float64)
            error = x.mean(dim=0) - y
            if not bool(torch.isfinite(x[:, known]).all()):
                raise UserError(
                    f"case {int(case[b])}, channel {spec.name}: the ensemble contains values that "
                    "are not finite; a method must redraw a member that diverges"
                )
            transform = TRANSFORMS[spec.transform]
            single = with_free_scatter(x, transform) if centred else x
            compared = with_free_ranks(x, transform) if centred else x
            points = {
                "mse": error.square(),
                "bias": error,
                "crps": fair_crps(x, y, single),
                "variance": x.var(dim=0, correction=1),
            }
            for name, values in points.items():
                found[name][b, c] = area_mean(values, weight)
                if regions is not None:
                    found[REGIONAL[name]][b, c] = _regional_means(values, weight, regions)
            source = generator(seed, "rank", int(case[b]), spec.name)
            draw = torch.rand(y.shape, generator=source, dtype=torch.float64).to(device)
            ranks = rank_of_truth(x, y, draw, compared)
            bins = torch.arange(count + 1, device=device).reshape(-1, 1, 1, 1)
            found["rank"][b, c] = area_mean(ranks == bins, weight)
            if marginals is not None:
                single, y = (transform.forward(values) for values in (single, y))
                found["cdf_difference"][b, c] = marginals.difference(single, y, weight, c)
    return CaseStatistics(case=case, members=count, centred=centred, **found)


def _regional_means(values: Tensor, weight: Tensor, regions: Tensor) -> Tensor:
    """Average `(T, H, W)` values over each region, `(R,)`; NaN if a region has no known value."""
    known = torch.where(weight > 0, values, 0.0)
    masks = regions.double().flatten(1)
    total = masks @ (known * weight).sum(dim=0).flatten()
    return total / (masks @ weight.sum(dim=0).flatten())


def _check_members(count: int) -> None:
    if count < 2:
        raise UserError(
            f"assimilation.members: found {count}, expected at least 2; spread and fair CRPS are "
            "not defined for one member"
        )
