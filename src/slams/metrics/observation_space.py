r"""Statistics in observation space: departures of observations from background and analysis.

With the departures of an observation `y` from background and analysis (the ensemble mean),

    d_ob = y - H(x_b),    d_oa = y - H(x_a),    d_ab = d_ob - d_oa = H(x_a) - H(x_b),

the sums over the observations of a case, per region, determine

* mean and standard deviation of O-B and O-A;
* the innovation chi-square `E[d_ob^2 / (R + H B H^T)]`, 1 when `R` and `B` are right (Menard and
  Chang 2000). Only the diagonal of `H B H^T` is used: `d^T (H B H^T + R)^-1 d / p` needs the whole
  matrix, which is too expensive, and has the same expectation. With the background's standard
  deviations `s` of the day and N past errors `e`, divided by their own standard deviations,

      (H B H^T)_pp = (1 / N) sum_n (H (s e_n))_p^2,

  so that errors within a footprint, or between grid points that are interpolated, are correlated
  as they have been. Without past errors they count as fully correlated, which is the maximum. An
  observation that cannot fall below a bound is compared with the expected square of its departure
  (`slams.linalg.censoring.departure_square`), which is smaller than `R + H B H^T` near the bound;
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
from slams.linalg.censoring import departure_square
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
    "unit_errors",
]

ASSIMILATED, HELD_OUT = "assimilated", "held_out"

# Name of the observation, and whether it was `assimilated` or `held_out`.
Key = tuple[str, str]

# Quantities summed over observations; `b` is O-B (NaN without a background), `a` is O-A.
SUMS = (
    "n",
    "b",
    "b_b",
    "b_b/v",  # v: what `b_b` is expected to be, R + H B H^T without a bound
    "a",
    "a_a",
    "a_a/r",
    "a_b",
    "r",
    "hbh",
    "spread",
    "crps",
)

# Past errors that are observed at a time; limits the temporaries.
_ERRORS = 16


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
        errors: `(N, T, C, H, W)` past errors of backgrounds, with a mean square of one at each
            point (`unit_errors`); `None` takes errors as fully correlated.
    """

    def __init__(self, normaliser: Normaliser, seed: int, errors: Tensor | None = None) -> None:
        self._normaliser = normaliser
        self._seed = seed
        self._errors = errors
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
                for b, sums in enumerate(found):
                    if bool(observed.mask[b].any()):
                        hbh = self._background_variance(observed, sd[b])
                        background, case = (h_background[b], hbh), int(batch.case[b])
                        sums[key] = self._sum(
                            observed, b, h_members[b], background, regions, case, centred
                        )
        return found

    def _background_variance(self, observed: Observations, sd: Tensor) -> Tensor:
        """Return the diagonal of `H B H^T` of a case, `(T, P)`.

        Args:
            observed: The observations.
            sd: `(T, C, H, W)` channel units, the background's standard deviations.
        """
        # The linear part of H only, without e.g. an elevation correction.
        linear = observed.operator.linear
        if self._errors is None:
            return linear(sd).square()
        self._errors = self._errors.to(sd.device)
        total = torch.zeros_like(observed.error_variance[0])
        for some in self._errors.split(_ERRORS):
            total += linear(sd * some).square().sum(dim=0)
        return total / len(self._errors)

    def _sum(
        self,
        observed: Observations,
        b: int,
        members: Tensor,
        background: tuple[Tensor, Tensor],  # H(x_b), and the diagonal of H B H^T
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
        guess = background[0][mask].double()
        d = y - guess
        hbh = background[1][mask].double()
        columns = {
            "n": torch.ones_like(y),
            "b": d,
            "b_b": d * d,
            "b_b/v": d * d / departure_square(guess - observed.bound, r + hbh, observed.bound),
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


def unit_errors(errors: Tensor, known: Tensor | None = None) -> Tensor:
    """Divide past errors by their root mean square at each point.

    Args:
        errors: `(N, T, C, H, W)` normalised.
        known: The same shape, bool, False where an error is not known; `None` if none is.

    Returns:
        The errors with a mean square of one over `N`, zero where there are none.
    """
    if known is not None:
        errors = errors.masked_fill(~known, 0.0)
    size = errors.square().mean(dim=0).sqrt()
    return errors / size.clamp(min=torch.finfo(errors.dtype).tiny)


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
