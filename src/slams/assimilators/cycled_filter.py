r"""Ensemble Kalman filters that are cycled: members are forecast from day to day.

`enkf` and `letkf` take their members from a static archive of past errors. Here the K members of
an analysis are kept, each is forecast to the next day with an error of its own
(`slams.assimilators.member_forecast`), and the forecasts are the prior of the next analysis: its
covariances are those of the day. The update is that of `EnsembleKalman.update`, applied to the
trajectories of L days, so that observations correct the day before too, from which the next
forecast starts. In a linear world with Gaussian errors and many members it is the Kalman filter.

With perturbations p of the prior (K, L, C, H, W), the share h of a static archive, inflation c,
relaxation to prior spread (`relax_to_prior_spread`) and a taper tau of each level,

    p   <- c p
    P    = (1 - h) p p^T / (K - 1) + h e e^T / (K - 1)       e: K past errors of the forecast,
                                                             rescaled to the variance of p
    x_a  = x_f + tau G d,     p_a = p + tau (update(p) - p)

The errors e are appended to the ensemble, all scaled so that its covariance is P, and the 2 K
updated perturbations are reduced to K random combinations of them that have, on average, the same
covariance. The update has no notion of a taper: where observations say little, far above the
surface, sampling errors of the gain are larger than what it gains, and tau < 1 takes a part of the
update (and of the loss of spread) back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase, centre
from slams.assimilators.cycle import CycleState, accepted, check_next_day
from slams.assimilators.enkf import EnKF
from slams.assimilators.ensemble_kalman import EnsembleKalman
from slams.assimilators.letkf import LETKF
from slams.assimilators.materials import Materials
from slams.assimilators.member_forecast import MemberForecast
from slams.errors import UserError
from slams.fields import Background, Batch, Ensemble
from slams.methods.specifications import ENKF_CYCLED, LETKF_CYCLED
from slams.observations.superobs import Superobs
from slams.runtime.seeds import generator

__all__ = [
    "CycledFilter",
    "EnKFCycled",
    "LETKFCycled",
    "MemberCycle",
    "build_enkf",
    "build_letkf",
]


@dataclass(eq=False, repr=False)
class CycledFilter(CaseByCase):
    """Base class of the cycled filters; `MemberCycle` carries their members from day to day.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        seed: The experiment's seed.
        season: Largest distance (days) of a past error from the verifying day of year.
        ensemble: Members `K`.
        localisation: Gaspari-Cohn half-width (km); infinity for none.
        inflation: Factor `c` on the perturbations of the prior.
        rtps: Relaxation to prior spread, 0 to 1.
        static_share: Share `h` of the covariance that is that of past errors, 0 to 1.
        taper: Factors `tau` of the pressure levels, from the highest pressure to the lowest;
            empty for 1. Fields without a level have 1.
        forecast: The forecast of members.

    Attributes:
        prior: Members before the update, `(K, L, C, H, W)` normalised, and their day.
        analysis: Members after it.

    Raises:
        UserError: The settings are not those of a filter (see `EnsembleKalman`), or the taper has
            another number of factors than there are levels.
    """

    kind: ClassVar[type[EnsembleKalman]]

    season: float = 75.0
    ensemble: int = 80
    localisation: float = 2000.0
    inflation: float = 1.0
    rtps: float = 0.0
    static_share: float = 0.0
    taper: Sequence[float] = ()
    forecast: MemberForecast = field(kw_only=True)
    prior: tuple[float, Tensor] | None = field(default=None, init=False)
    analysis: Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._filter = self.kind(
            self.normaliser,
            self.grid,
            self.seed,
            ensemble=self.ensemble,
            localisation=self.localisation,
            inflation=self.inflation,
            rtps=self.rtps,
            local=self.local,
        )
        self.gains = self._filter.gains
        self._taper = _by_channel(self.taper, self.normaliser.channels, self.name)

    @classmethod
    def build(cls, materials: Materials) -> Self:
        """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
        given = (materials.normaliser, materials.grid, materials.seed)
        settings = materials.settings_of(cls.name)
        return cls(*given, local=materials.local, forecast=materials.forecast(), **settings)

    def fit(self, archive: Archive) -> None:
        """Store the archive; see `CaseByCase.fit`. Covariances are those of the members."""
        super().fit(archive)
        expected = (1, *self.normaliser.sd.shape)
        if tuple(archive.fields.shape[1:]) != expected:
            raise UserError(f"{self.name}: expected windows of one day (data.window)")

    def first(self, batch: Batch, from_climatology: bool) -> Tensor:
        """Return the members of the first day of a cycle, `(K, L, C, H, W)` normalised.

        Args:
            batch: The case of this day.
            from_climatology: Whether members are states of other years, not the background of the
                case with past errors.
        """
        given = (float(batch.time[0, 0]), self.season, self.seed, self.ensemble)
        if from_climatology:
            return self.forecast.climatological(*given).to(batch.climatology.device)
        background = self.background_of(batch)
        errors = self.forecast.scaled_errors(*given, background.variance[0, 0])
        states = (background.mean[0, 0] + errors)[:, None]
        return states.expand(-1, self.forecast.past, *states.shape[2:]).contiguous()

    def advance(self, members: Tensor, date: float) -> Tensor:
        """Forecast members by one day, `(K, L, C, H, W)` normalised.

        Args:
            members: `(K, L, C, H, W)` the analysis of the day before.
            date: The day, days since 1970-01-01.
        """
        errors = self.forecast.model_errors(date, self.season, self.seed, len(members))
        states = self.forecast.forecast(members) + errors.to(members.device)
        return torch.cat([members[:, 1:], states[:, None]], dim=1)

    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Analyse one case; `(M, T, C, H, W)` normalised.

        Raises:
            UserError: The members were not forecast to this day by `MemberCycle`.
        """
        day, case = float(batch.time[0, 0]), int(batch.case[0])
        if self.prior is None or self.prior[0] != day:
            raise UserError(
                f"{self.name} keeps its members from day to day, expected the consecutive days of "
                f"a cycle (assimilation.cycle_days)"
            )
        prior = self.prior[1]
        mean = prior.mean(dim=0)
        perturbations = self.inflation * (prior - mean)
        if self.static_share > 0:
            perturbations = self._with_static(perturbations, day)
        updated, analysed = self._filter.assimilate(batch, mean, perturbations)
        taper = self._taper.to(mean.device)
        mean = mean + taper * (updated - mean)
        perturbations = perturbations + taper * (analysed - perturbations)
        if self.static_share > 0:
            perturbations = _reduced(perturbations, len(prior), self.seed, self.name, case)
        self.analysis = mean + perturbations
        return self._filter.choose(mean[-1:], perturbations[:, -1:], case, members)

    def _with_static(self, perturbations: Tensor, day: float) -> Tensor:
        """Append past errors, of the last day only, and scale all to the mixed covariance."""
        count, share = len(perturbations), self.static_share
        variance = perturbations[:, -1].square().sum(dim=0) / (count - 1)
        given = (day, self.season, self.seed, count)
        errors = torch.zeros_like(perturbations)
        drawn = self.forecast.scaled_errors(*given, variance)
        errors[: len(drawn), -1] = drawn
        own, static = (
            ((2 * count - 1) * part / (number - 1)) ** 0.5
            for part, number in ((1 - share, count), (share, len(drawn)))
        )
        return torch.cat([own * perturbations, static * errors])


class EnKFCycled(CycledFilter):
    """Cycled ensemble Kalman filter with perturbed observations; see `CycledFilter`."""

    name = ENKF_CYCLED.name
    kind = EnKF


class LETKFCycled(CycledFilter):
    """Cycled local ensemble transform Kalman filter; see `CycledFilter`."""

    name = LETKF_CYCLED.name
    kind = LETKF


@dataclass(eq=False, repr=False)
class MemberCycle:
    """Cycle of a filter that keeps its own members.

    Args:
        method: The filter.
        gross_error: Limit of the gross-error check, which uses the mean and spread of forecasts.
        superobs: Averaging of the observations that they accept, or `None`.
        from_climatology: Whether the first members are states of other years.
    """

    method: CycledFilter
    gross_error: float = float("inf")
    superobs: Superobs | None = None
    from_climatology: bool = False
    _day: float | None = field(default=None, init=False)
    _members: Tensor | None = field(default=None, init=False)

    def reset(self) -> None:
        """Discard the members, so that the next case starts a cycle."""
        self._day = self._members = self.method.prior = self.method.analysis = None

    @property
    def state(self) -> CycleState | None:
        """Return day and members `(K, L, C, H, W)` of the last analysis, if any."""
        if self._day is None or self._members is None:
            return None
        return self._day, self._members, None

    def restore(self, day: float, members: Tensor, bias: Tensor | None = None) -> None:
        """Continue after an analysis, as returned by `state`."""
        self._day, self._members = day, members

    def prepare(self, batch: Batch) -> Batch:
        """Forecast the members to the day of a case, and give it their mean and variance.

        Args:
            batch: One case of one day.

        Raises:
            UserError: The case is not the day after the last analysis.
        """
        day, method = float(batch.time[0, 0]), self.method
        if self._day is None or self._members is None:
            members = method.first(batch, self.from_climatology)
        else:
            check_next_day(self._day, batch)
            members = method.advance(self._members.to(batch.climatology.device), day)
        method.prior = (day, members)
        last = members[None, :, -1:]
        variance = method.inflation**2 * last.var(dim=1)
        background = Background(last.mean(dim=1), variance, "ensemble")
        batch = replace(batch, background=background)
        return accepted(batch, method.normaliser, self.gross_error, self.superobs)

    def keep(self, batch: Batch, ensemble: Ensemble) -> None:
        """Store the members of the analysis of a case for the next one.

        Args:
            batch: The case.
            ensemble: Its analysis, of which the method has kept all members.
        """
        self._day, self._members = float(batch.time[0, 0]), self.method.analysis


def _reduced(perturbations: Tensor, count: int, seed: int, name: str, case: int) -> Tensor:
    """Reduce centred perturbations to fewer random combinations with the same covariance.

    The combinations are orthonormal and centred: of all of them the covariance is, on average,
    that of the perturbations.
    """
    draw = generator(seed, f"{name}/combinations", case)
    mixing = torch.randn(len(perturbations), count, generator=draw, dtype=torch.float64)
    mixing = centre(centre(mixing).T).T
    left, size, right = torch.linalg.svd(mixing, full_matrices=False)
    kept = size > 1e-6 * size[0]  # all but the one that centring has taken
    mixing = ((left * kept) @ right).to(perturbations)
    return torch.einsum("nk,n...->k...", mixing, perturbations)


def _by_channel(taper: Sequence[float], channels: Sequence, name: str) -> Tensor:
    """Return the factor of each channel, `(C, 1, 1)`."""
    levels = sorted({c.level for c in channels if c.level is not None}, reverse=True)
    if taper and len(taper) != len(levels):
        raise UserError(
            f"assimilation.{name}.taper: found {len(taper)} factors, expected one for each of the "
            f"{len(levels)} levels from {levels[0] if levels else 'none'} hPa upwards, or none"
        )
    factor = dict(zip(levels, taper, strict=True)) if taper else {}
    return torch.tensor([factor.get(c.level, 1.0) for c in channels])[:, None, None]


build_enkf = EnKFCycled.build
build_letkf = LETKFCycled.build
