r"""Statistics in observation space: departures of observations from background and analysis.

With the departures of an observation `y` from background and analysis (the ensemble mean),

    d_ob = y - H(x_b),    d_oa = y - H(x_a),    d_ab = d_ob - d_oa = H(x_a) - H(x_b),

the sums over the observations of a case, per region, determine

* mean and standard deviation of O-B and O-A;
* the innovation chi-square `E[d_ob^2 / (R + H B H^T)]`, 1 when `R` and `B` are right (Menard and
  Chang 2000). Only the diagonal of `H B H^T` is used: `d^T (H B H^T + R)^-1 d / p` needs the whole
  matrix, which is too expensive, and has the same expectation;
* the estimates of Desroziers et al. (2005, doi 10.1256/qj.05.108), for observations that were
  assimilated with weights near the optimal ones,

      E[d_oa d_ob] = R,    E[d_ab d_ob] = H B H^T,    E[d_ab d_oa] = H A H^T;

* the variance of the departures from the ensemble mean, `E[d_oa^2]`, and the total spread
  `R + (1 + 1/M) s^2` with `s^2` the ensemble's variance at the observed points, or `R + s^2` for
  an ensemble that is centred on the analysis (`slams.metrics.centred`). They agree for a reliable
  ensemble that has *not* assimilated the observation; otherwise `E[d_oa^2]` is `R - H A H^T`;
* the score of `slams.metrics.observation_error`.

Each is a function of the sums, which are additive over cases, batches and ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slams.fields import Batch, Observations
from slams.metrics.centred import mean_error_share
from slams.metrics.observation_error import crps_with_error, rank_with_error
from slams.metrics.regions import point_regions
from slams.normalisation import Normaliser
from slams.runtime.seeds import generator

__all__ = [
    "ASSIMILATED",
    "HELD_OUT",
    "SUMS",
    "Key",
    "ObservationSpace",
    "ObservedSums",
    "observed_statistics",
]

ASSIMILATED, HELD_OUT = "assimilated", "held_out"

# Name of the observation, and whether it was `assimilated` or `held_out`.
Key = tuple[str, str]

# Quantities summed over observations; `b` is O-B (NaN without a background), `a` is O-A.
SUMS = (
    "n",
    "b",
    "b_b",
    "b_b/v",  # v = R + H B H^T, assumed
    "a",
    "a_a",
    "a_a/r",
    "a_b",
    "r",
    "hbh",
    "spread",
    "crps",
)


@dataclass(frozen=True)
class ObservedSums:
    """Sums over the observations of one name in one case.

    Attributes:
        sums: `(R, K)` float64, one row per region, one column per entry of `SUMS`.
        ranks: `(M + 1,)` float64, number of observations of each rank, over the globe.
    """

    sums: Tensor
    ranks: Tensor


class ObservationSpace:
    """Comparison of analyses with observations, assimilated or held out.

    Args:
        normaliser: The conversions.
        seed: The experiment's seed, for the errors that are added to members before ranking.
    """

    def __init__(self, normaliser: Normaliser, seed: int) -> None:
        self._normaliser = normaliser
        self._seed = seed
        self._regions: dict[Key, tuple[Tensor, Tensor]] = {}

    def __call__(
        self, batch: Batch, members: Tensor, centred: bool = False
    ) -> list[dict[Key, ObservedSums]]:
        """Sum over the observations of each case.

        Args:
            batch: The batch.
            members: `(B, M, T, C, H, W)` channel units.
            centred: Whether the members are centred on the analysis.

        Returns:
            One mapping per case, without entries for observations that have no value in it.
        """
        if batch.background is None:
            mean = sd = torch.full_like(batch.fields, torch.nan)
        else:
            mean = self._normaliser.denormalise(batch.background.mean, batch.climatology)
            sd = batch.background.variance.sqrt() * self._normaliser.sd
        found: list[dict[Key, ObservedSums]] = [{} for _ in range(len(batch))]
        for use, group in ((ASSIMILATED, batch.observations), (HELD_OUT, batch.held_out)):
            for observed in group:
                key = observed.name, use
                regions = self._point_regions(key, observed)
                h_members, h_background = observed.operator(members), observed.operator(mean)
                # Use the linear part of H only, without e.g. an elevation correction. The
                # background's errors are assumed fully correlated within a footprint.
                h_sd = observed.operator(sd) - observed.operator(torch.zeros_like(sd))
                for b, sums in enumerate(found):
                    if bool(observed.mask[b].any()):
                        background, case = (h_background[b], h_sd[b]), int(batch.case[b])
                        sums[key] = self._sum(
                            observed, b, h_members[b], background, regions, case, centred
                        )
        return found

    def _sum(
        self,
        observed: Observations,
        b: int,
        members: Tensor,
        background: tuple[Tensor, Tensor],
        regions: Tensor,
        case: int,
        centred: bool,
    ) -> ObservedSums:
        mask = observed.mask[b]
        y = observed.values[b][mask].double()
        r = observed.error_variance[b][mask].double()
        x = members[:, mask].double()
        count = x.shape[0]
        a = y - x.mean(dim=0)
        d = y - background[0][mask].double()
        hbh = background[1][mask].double().square()
        columns = {
            "n": torch.ones_like(y),
            "b": d,
            "b_b": d * d,
            "b_b/v": d * d / (r + hbh),
            "a": a,
            "a_a": a * a,
            "a_a/r": a * a / r,
            "a_b": a * d,
            "r": r,
            "hbh": hbh,
            "spread": x.var(dim=0, correction=1),
            "crps": crps_with_error(x, y, r, centred),
        }
        inside = regions[:, None].expand(-1, *mask.shape)[:, mask].double()
        sums = inside @ torch.stack([columns[name] for name in SUMS], dim=1)
        source = generator(self._seed, "observation_rank", observed.name, case)
        noise = torch.randn(count, *mask.shape, generator=source, dtype=torch.float64)
        rank = rank_with_error(x, y, r, noise.to(x.device)[:, mask], centred)
        ranks = torch.bincount(rank, minlength=count + 1).double()
        return ObservedSums(sums.cpu(), ranks.cpu())

    def _point_regions(self, key: Key, observed: Observations) -> Tensor:
        """Return the regions of a network, computed once: it is the same in every batch."""
        latitude, longitude = observed.operator.latitude, observed.operator.longitude
        if key not in self._regions or not torch.equal(self._regions[key][0], latitude):
            self._regions[key] = latitude, point_regions(latitude, longitude)
        return self._regions[key][1].to(observed.mask.device)


def observed_statistics(
    sums: Tensor, members: int, use: str, centred: bool = False
) -> dict[str, Tensor]:
    """Evaluate the statistics.

    Args:
        sums: `(..., K)` sums over observations, last axis in the order of `SUMS`.
        members: Number of ensemble members `M`.
        use: `assimilated` or `held_out`; there are no Desroziers estimates for the latter.
        centred: Whether the members are centred on the analysis.

    Returns:
        Values `(...)` by name, NaN where there are no observations or no background. Means,
        standard deviations and scores are in the observations' units; `r_`, `hbh_`, `hah_`,
        `departure_variance` and `total_spread` in these units squared.
    """
    of = dict(zip(SUMS, sums.unbind(dim=-1), strict=True))
    n = of["n"]
    found = {}
    for departure in "ba":
        mean = of[departure] / n
        square = of[f"{departure}_{departure}"] - n * mean.square()
        found[f"o_minus_{departure}_mean"] = mean
        found[f"o_minus_{departure}_sd"] = (square.clamp(min=0) / (n - 1)).sqrt()
    found["chi2"] = of["b_b/v"] / n
    found["r_assumed"] = of["r"] / n
    found["hbh_assumed"] = of["hbh"] / n
    if use == ASSIMILATED:
        found["r_desroziers"] = of["a_b"] / n
        found["hbh_desroziers"] = (of["b_b"] - of["a_b"]) / n
        found["hah_desroziers"] = (of["a_b"] - of["a_a"]) / n
    found["hah_ensemble"] = of["spread"] / n
    found["departure_variance"] = of["a_a"] / n
    found["total_spread"] = (of["r"] + mean_error_share(members, centred) * of["spread"]) / n
    found["crps"] = of["crps"] / n
    return found
